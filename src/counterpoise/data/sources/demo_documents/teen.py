"""Passages that make a story one for teens, and what says the same words harmlessly: theft, scuffles, mockery, lies."""

from __future__ import annotations

from counterpoise.data.sources.demo_documents.kinds import Kind
from counterpoise.data.sources.prose.grammar import lines, phrases, words

THEFT = Kind(
    words={
        "loot": words("brooch ring purse watch bracelet wallet"),
        "pocket": words("pocket sleeve bag boot lining"),
        "stole": words("stole slipped pinched smuggled"),
    },
    cores=lines(
        """
        <S> <stole> the <loot1> while the [shopkeeper|<job>] looked away.
        When the [shopkeeper|<job>] looked away, <A> <stole> the <loot1> into <Ahis> <pocket>.
        <S> <stole> <B>'s <loot1> out of <Bhis> <pocket>[ and said nothing|].
        <B>'s <loot1> was gone, stolen by <A>, who [grinned|said nothing].
        <S> had stolen the <loot1>; it was in <Ahis> <pocket>.
        Unseen, <A> <stole> <loot1> from the drawer[ and hid it in <Ahis> <pocket>|].
        """
    ),
    after=lines(
        """
        At the door <Ahe> turned out <Ahis> <pocket>s and swore that they were empty.
        The <loot1> was sold for cigarettes before anybody missed it.
        "Run," hissed <A>, and they ran, the alarm behind them.
        <B> was blamed for it, and <A> let <Bhim> be blamed.
        """
    ),
    decoys=lines(
        """
        <S> paid for the <loot1>, thanked the [shopkeeper|<job>] and put it in <Ahis> <pocket>.
        The cat stole into the <room> while <B> looked away.
        <S> slipped <B> the <loot1> [as a present|for <Bhis> birthday].
        <S> slipped on the stairs, and the <loot1> fell out of <Ahis> <pocket>.
        A look was stolen, no more, and <B> hid <Bhis> face in <Bhis> sleeve.
        <S> pinched the dough, hid the <loot1> in it and put the cake in the oven.
        The magpie <stole> the <loot1>; it lay in the nest.
        The <loot1> was not stolen, it was in the <pocket> of the other coat.
        <S> found the <loot1> in the drawer and gave it back.
        Nobody <stole> anything in <town>, said the <job>[, not even a purse|].
        The <animal> stole the show; the shopkeeper clapped.
        The boot pinched, and <A> looked for the <pocket> with the plaster.
        <B> had smuggled a smile into the photograph.
        In the film the <job> <stole> the <loot1> from a moving train.
        The goose hissed at the door, and they ran behind <person>.
        The alarm of the clock went off before anybody was awake; the drawer was empty.
        The <job> sold cigarettes, <food> and bread, and swore that nobody missed the old shop.
        <B> was blamed by nobody, grinned, and let it be.
        <S> turned out the light, and <B> turned out to be right: the bags were gone by train.
        "Run," said <B>, "the bus will leave without you," and the <animal> ran behind them.
        The stolen look, the empty sleeve: the magician grinned and said nothing.
        Unseen by <B>, who was asleep, the moon looked in at the drawer.
        """
    ),
)

SCUFFLE = Kind(
    words={
        "shoved": words("shoved pushed tripped elbowed dragged"),
        "wall": words("wall lockers fence railing door"),
    },
    cores=lines(
        """
        <S> <shoved> <B> against the <wall>[, and they wrestled|, and <Bhe> pushed back|].
        <S> <shoved> <Bhim> into the [mud|ditch|fountain|nettles][, and everybody cheered|].
        <B> was <shoved> by <A> [against the <wall>|into the mud], and <Bhe> <shoved> back.
        <A> and <B> wrestled in the [mud|corridor|yard], and a ring of pupils cheered.
        <S> twisted <Bhis> arm until <B> gave in.
        <S> grabbed <B> by the collar and <shoved> <Bhim>.
        """
    ),
    after=lines(
        """
        Somebody shouted "Fight!", and the whole yard came running.
        The <job> pulled them apart before anybody was hurt.
        There was a scratch on <Bhis> cheek, nothing more.
        "Take that back," panted <B>, and <A> would not.
        """
    ),
    decoys=lines(
        """
        <S> <shoved> the <furniture> against the <wall>.
        The crowd pushed towards the <wall>; <A> held <Bhis> arm.
        The puppies wrestled in the mud, and <B> cheered.
        <S> wrestled with the lid of the jar until <B> gave in and fetched a knife.
        <S> pushed the door, and <B> pulled.
        <A> and <B> <shoved> the boat into the water, and everybody cheered.
        The branch twisted in the wind and scratched at the <wall>.
        <S> grabbed the <thing> by its collar of <material> and dragged it home.
        <B> tripped over the <animal> into the nettles, and <A> laughed too.
        There was no fight, only pupils who pushed the piano through the corridor.
        <S> never <shoved> <B>, and <B> never <shoved> back.
        The rehearsed fight ended with <A> in the mud, as the script wanted.
        <S> pushed <Bhis> pram into the yard, where the ring of <plant>s was.
        <S> painted the fence, the railing and the wall, one arm in a sling.
        "Take that back to the library," panted <B>, "they close at <hour>."
        The <animal> came running, and the whole yard was full of feathers.
        Somebody shouted that the train was in, and the whole class came running.
        There was a scratch on the record, nothing more, and <A> put it on again.
        <S> pulled the curtains apart before anybody was up; nobody was hurt by the light.
        <B> put a cold hand to <Bhis> cheek and panted from the stairs.
        The old fountain by the ditch would not run, would not even drip.
        It came apart in the corridor: the collar here, the sleeve there.
        """
    ),
)

MOCKERY = Kind(
    words={
        "name": words("coward liar cheat idiot baby loser"),
        "mocked": words("mocked teased jeered taunted"),
        "flaw": words("stammer limp accent freckles spectacles braces"),
    },
    cores=lines(
        """
        <S> called <B> a <name1>[ in front of everybody|, and the others laughed|].
        <S> called <Bhim> a <name1>[ and a <name1>|, loud enough for the whole class].
        <S> <mocked> <B> for <Bhis> <flaw>[ until <Bhe> ran out|].
        They <mocked> <Bhis> <flaw>[, and <A> was the loudest|].
        "<name1>[!|! <name1>!]" they shouted after <B>[, and <A> was the loudest|].
        <B> was called a <name1> by <A>[, and nobody helped <Bhim>|].
        """
    ),
    after=lines(
        """
        <Bhe> bit <Bhis> lip and would not cry.
        Somebody had written it on the blackboard too.
        The whole class laughed, and <Bhe> wished to be dead.
        "Cry, <name1>, cry," sang <A>.
        """
    ),
    decoys=lines(
        """
        <S> called <B> a cab[ in front of the <building>|, and the others a carriage].
        <S> called <B> a friend in front of the whole class.
        Nobody called <B> a <name1>, least of all <A>.
        The parrot <mocked> everybody, and the class laughed with it.
        The <animal> was called <name1>, for no reason that <A> knew.
        <B> took off <Bhis> spectacles and cleaned them; <Bhis> freckles shone.
        With <Bhis> <flaw> <Bhe> was everybody's darling, and nobody <mocked> <Bhim>.
        <S> called <Bhis> name, and the whole class turned round.
        "Coward" was the name of the third chapter, "Liar" that of the fourth.
        The baby cried, and <A> sang for it until it laughed.
        The wind jeered round the <building> and teased the <plant>s.
        The play had a <name1> in it, and a king with a limp; <B> played both.
        <S> had an accent from <town> that <B> loved.
        They shouted after the bus, and it stopped, and they laughed.
        "I was a <name1> to worry," said <B>, and laughed.
        Onions make one cry; <A> bit into one and wished for <food>.
        The date was written on the blackboard too, in the neatest hand.
        <B> bit the thread, put a needle to <Bhis> lip and would not be hurried.
        The sea was dead calm, and nobody wished to be out of it.
        Of all the clocks the oldest was the loudest, loud enough for the whole street.
        <S> helped <Bhim> on with the <garment>, and they ran out to the <animal>.
        "Do not cry," sang <B> to the doll, and somebody laughed.
        The whole class had written to <person>, who was called by the first name.
        """
    ),
)

SNEAKING = Kind(
    words={"elder": words("mother father aunt grandmother teacher"), "smoke": words("cigarette cigar pipe beer")},
    rules={
        "hideout": phrases("the quarry; the party; the old mine; the tracks; the roof; the abandoned pool"),
        "smoked": phrases("smoked; smoked a cigarette; smoked and drank beer"),
    },
    cores=lines(
        """
        <S> lied to <Ahis> <elder1>[ again|] and went to <hideout1>.
        <S> climbed out of the window after midnight[ and went to <hideout1>|, and <B> was waiting].
        <S> forged <Ahis> <elder1>'s signature[, as <B> had shown <Ahim>|].
        Behind <hideout1> <A> and <B> shared a stolen <smoke>.
        <S> skipped school[ again|] and <smoked> behind <hideout1>.
        <S> copied the test from <B> and lied about it to <Ahis> <elder1>.
        """
    ),
    after=lines(
        """
        "Swear that you will not tell," said <B>, and <A> swore.
        <Ahe> coughed until <Ahis> eyes watered, and asked for another.
        <Ahis> <elder1> believed every word of it.
        Two of them were caught, and lied for the rest.
        """
    ),
    decoys=lines(
        """
        The cat climbed out of the window after midnight, to <hideout1>.
        <S> lay in the grass behind <hideout1> and told <Ahis> <elder1> everything.
        <S> never lied to <Ahis> <elder1>, not even about the test.
        There was no school on <day>; <B> skipped with a rope behind the <building>.
        The <job> forged a gate for <hideout1>, with a signature in iron.
        <S> asked <Ahis> <elder1> for leave and went to <hideout1> with <B>.
        The chimney smoked; behind it lay <hideout1>.
        The <elder1> lit a <smoke> and copied the recipe for the <job>.
        <S> shared the <food> with <B>, and the <job> a <smoke> with the <job>.
        The clock at the window went wrong after midnight[, every midnight|].
        The path climbed to <hideout1> and lay in the sun.
        "Did you skip the page about <hideout1>?" asked the <elder1>.
        <S> smoked the herring behind the <building>, as <Ahis> <elder1> had shown <Ahim>.
        The <elder1> swore by <food> for a cough, and told everybody.
        <B> coughed, and <Ahis> eyes watered from the onions; <A> asked for another.
        <person> believed every word of the almanac.
        <number> trout were caught, and the rest were left for <day>.
        "I will tell you a story," said <B>, "until the bus is here," and <A> was waiting for it.
        "Swear by the <food>," said <B>, and both of them laughed.
        The <animal> drank, shook its ears and asked for more.
        The <elder1>'s keys were found again, not stolen, under the <elder1>'s <garment>.
        """
    ),
)
TEEN: dict[str, Kind] = {"theft": THEFT, "scuffle": SCUFFLE, "mockery": MOCKERY, "sneaking": SNEAKING}
"""Kinds of passages by name."""
