"""Passages that make a story mature, and what says the same words harmlessly: brawls, drinking, cruelty, threats."""

from __future__ import annotations

from counterpoise.data.sources.demo_documents.kinds import Kind
from counterpoise.data.sources.prose.grammar import lines, words

BRAWL = Kind(
    words={
        "hit": words("struck hit punched beat kicked slammed"),
        "part": words("face jaw mouth ribs stomach nose"),
        "weapon": words("bottle poker chain stick stone belt"),
        "bled": words("bled bleeding"),
    },
    cores=lines(
        """
        <S> <hit> <B> in the <part>[ with a <weapon1>|, hard|, and then again|].
        <S> <hit> <Bhim> [across|in] the <part>[ with a <weapon1>|, twice|, harder than before|].
        <B> was <hit_by> <A> in the <part>[ and fell against the <furniture>|, and again in the <part>|].
        Without a word <A> took the <weapon1> and <hit> <B> in the <part>.
        Before <Bhe> could turn, <A> <hit> <Bhim> in the <part>.
        <B> went down, and still <A> <hit> <Bhim> in the <part>[ with the <weapon1>|].
        """
    ),
    rules={"hit_by": ("struck by", "hit by", "punched by", "beaten by", "kicked by", "slammed down by")},
    after=lines(
        """
        Blood ran from <Bhis> <part>[ and dripped on the floor|].
        <Bhe> spat blood and a tooth[ on the floor|, and could not get up|].
        One of <Bhis> ribs was broken[, the <job> said later|].
        <Bhis> <part> was broken and would not stop bleeding.
        """
    ),
    decoys=lines(
        """
        The clock struck <hour>; <A> hit the <food> with a wooden spoon.
        The hail <hit> the roof of the <building> like a <weapon1>.
        The wind <hit> <B> in the face, cold and full of <smell>.
        <S> <hit> the carpet with a <weapon1> until the dust flew[ into <Ahis> mouth|].
        <S> <hit> the drum, and <B> the gong; the <weapon1> kept time.
        <S> had never <hit> anybody[ in the <part>|], and would not begin with <B>.
        In the play <A> <hit> <B> in the <part>, with a <weapon1> of cardboard, and beetroot juice for blood.
        <S> hit on an idea: the <weapon1> would do for <food>.
        <B> punched a hole in the belt, and <A> kicked the <thing> aside.
        The face of the clock was broken, and a tooth of the big wheel was gone.
        The ribs of the old boat were broken; red paint, not blood, dripped on the floor.
        They ate blood oranges until the juice ran from every mouth.
        <S> dreamed that a <animal> <hit> <Ahim> in the <part>, and woke laughing.
        The <job> struck a match, and <A> beat the eggs for the pudding.
        A stone had hit the window long ago; <person> had mended it with a belt.
        "Nobody was <hit_by> anybody," said <B>, "it was the <animal>."
        The fountain spat water, and could not be made to stop; <A> went down to turn it off.
        The radishes were the colour of blood; <A> spat one on the floor.
        The barometer fell, then fell again, harder than before, and the <job> was not pleased.
        One tooth of the rake was broken, and the <thing> went down with it.
        In the hospital of dolls <A> mended broken ribs, and the bleeding of red wool would stop.
        Without a word <A> took the <weapon1> and put it down by the <furniture>.
        <S> got up, hit the light switch, and could still not find <Ahis> <garment>; it was against the door.
        <B> ran down twice, and the <job> was still not back; blood is thicker than water, <Bhe> said later.
        """
    ),
)

DRINK = Kind(
    words={
        "spirit": words("gin whisky brandy rum schnapps vodka"),
        "reel": words("staggered reeled swayed stumbled"),
    },
    cores=lines(
        """
        <S> drank <spirit1> from the bottle until <Ahe> could not stand.
        <S> drank [another|one more|a fifth] glass of <spirit1>, then the rest of the bottle[, and <reel>|].
        Drunk on <spirit1> again, <A> <reel> [to the door|against the <furniture>|home].
        <S> had emptied the second bottle of <spirit1> and <reel>, [dead drunk|too drunk to speak].
        The bottle of <spirit1> was empty, and <A> lay drunk on the floor.
        <B> found <Ahim> drunk on the floor, [a|the second] bottle of <spirit1> in <Ahis> arm.
        """
    ),
    after=lines(
        """
        <Ahe> was sick into the <thing>[ and fell asleep beside it|].
        <Ahe> cursed <B>, dropped the glass and drank from the floor.
        Too drunk to find the door, <Ahe> slept on the stairs.
        In the morning <Ahis> hands shook until <Ahe> had drunk again.
        """
    ),
    decoys=lines(
        """
        A spoonful of <spirit1> went into the pudding; the bottle went back on the <furniture>.
        <S> drank <drink> from the glass, and the bottle of <spirit1> stayed shut.
        The <animal> drank from the trough until it could drink no more, and <reel> off.
        <S> poured the <spirit1> into the sink and washed the bottle.
        The ship in the bottle <reel> on a sea of painted glass.
        <person> rubbed the <furniture> with <spirit1> until it shone, an empty glass on <Ahis> knee.
        <S> had not drunk <spirit1> for <number> years, and never missed it.
        Nobody had ever seen <A> drunk[; a glass of <drink> was enough|].
        Drunk with <sound>, <B> lay on the floor and looked at the ceiling.
        The old cart <reel> home, full of empty bottles for the <job>.
        In the comedy the doctor is drunk on <spirit1>, which was cold tea[, and <reel> prettily|].
        The baby <reel> two steps and fell asleep on the floor, a bottle of milk in its arm.
        The bottle of <spirit1> had stood on the <furniture> for <number> years, a present to the <job>.
        The lamp drank oil; <A> filled it from a bottle with a glass stopper.
        <S> was seasick, not drunk, and <reel> to the door.
        In the morning the <animal> shook itself, slept again, and was found on the stairs.
        <B> was sick with a cold, drank <drink> and slept beside the stove.
        <S> dropped the second glass; the rest of the set went to <person>.
        <S> had emptied a fifth basket of <food>, and <Ahis> hands shook with the cold.
        The <job> cursed the stairs, the door and the <thing>, and could not speak for coughing.
        The battery of the radio was dead; the last bottle of ink was empty too.
        Too tired to stand, <B> fell asleep against the <furniture>, and <A> shook <Bhim>.
        "Another glass of <drink>?" - "One more," said <B>, "and the rest is for the <animal>."
        """
    ),
)

CRUELTY = Kind(
    words={
        "shut": words("locked chained tied shut bound"),
        "hole": words("cellar cage kennel coal-hole pit"),
        "cried": words("screamed begged wept whimpered"),
    },
    cores=lines(
        """
        <S> <shut> <B> in the <hole1> for [three|two|four] days[, without water|].
        <S> <shut> <Bhim> in the <hole1>[ and threw away the key| and laughed|, in the dark].
        <B> <cried> in the <hole1>, and <A> [laughed|turned away|counted coins|only shrugged].
        For [two|three] nights <B> was <shut> in the <hole1>[; nobody brought <Bhim> water|].
        <S> laughed while <B> <cried>[, <shut> to the <furniture>|].
        The more <B> <cried>, the more <A> whipped <Bhim>.
        """
    ),
    after=lines(
        """
        <S> gave <Bhim> nothing to eat but a crust[ that the <animal> had left|].
        "Beg," said <A>, and <Bhe> begged[ on <Bhis> knees|].
        <Bhe> <cried> all night; <A> whistled.
        <S> burned <Bhis> hand on the stove, to teach <Bhim>.
        """
    ),
    decoys=lines(
        """
        <S> <shut> the <thing> in the <hole1> for the winter.
        <S> <shut> the bicycle to the gate and threw the key to <B>.
        The wind <cried> in the chimney, and <A> laughed in the dark.
        The kettle screamed, the door whimpered, and <B> laughed.
        The <animal> begged for <food> while <A> laughed[, and got it|].
        <S> never <shut> anybody in the <hole1>; it was full of <food>.
        Nobody was <shut> in the <hole1>, whatever <person> had heard.
        <S> went to the <hole1> for water, and <B> <shut> the window.
        <B> <cried> with laughter[ in the <hole1>|] when the <animal> whipped its tail.
        In the fairy tale the giant <shut> the moon in the <hole1>, and the stars <cried>.
        <S> whipped the cream, and begged <B> for the key of the pantry.
        The <relative> wept at the wedding, as one does, and <A> threw rice.
        <S> burned the toast on the stove, and the crust went to the <animal>.
        For three nights the <animal> was <shut> up in the <hole1> with the lambs, warm and fed.
        The <job> bound the book in leather and tied it with a ribbon in the dark.
        <S> whistled all night, and the <animal> listened.
        <S> shrugged, counted coins and threw away the old key.
        "Beg," said <A>, and the <animal> begged on its hind legs for a crust.
        <person> would teach <Bhim> to knit; for four days <Bhe> did nothing but that.
        <S> gave <Bhim> more to eat than <Bhe> had asked for, and turned away to laugh.
        <B> was on <Bhis> knees in the <room>, and only looked for a coin that had rolled away.
        <S> brought <Bhim> water without being asked; a hand is quickly burned on that stove.
        The more it snowed, the more the <animal> <cried> to be let out.
        """
    ),
)

THREAT = Kind(
    words={
        "blade": words("knife razor dagger hatchet sickle"),
        "gun": words("pistol rifle revolver shotgun"),
        "neck": words("throat neck chest temple"),
    },
    cores=lines(
        """
        <S> held the <blade1> to <Bhis> <neck1>[ and counted to ten| until <Bhe> signed|].
        <S> pressed the <gun1> to <Bhis> <neck1>[ and smiled|, and cocked it|].
        <S> aimed the <gun1> at <B> [and fired|and cocked it|and told <Bhim> to kneel].
        <B> felt the <blade1> at <Bhis> <neck1>.
        The bullet from <Ahis> <gun1> tore <Bhis> [arm|shoulder] open.
        <S> cut <B> with the <blade1>, from the [ear|wrist|shoulder] down.
        """
    ),
    after=lines(
        """
        "One word," said <A>, "and you are dead."
        <Bhe> felt the blade cut <Bhis> skin.
        "I will kill you," <Ahe> said, and <B> knew that it was true.
        <Bhe> pressed a hand to the wound and prayed.
        """
    ),
    decoys=lines(
        """
        <S> held the <blade1> to the <food> and counted to ten slices.
        <S> held the scarf to <Bhis> neck: the <colour> went well with the <garment>.
        <S> aimed the camera at <B> and told <Bhim> to smile.
        <S> aimed the garden hose at <B> and fired[; everybody was wet|].
        The <gun1> was made of sugar, and <B> ate it.
        The <gun1> over the <furniture> had not fired a shot in <number> years.
        The <blade1> cut the cake, from the top down, and <B> had the first piece.
        <S> cut <Bhis> hair with care, and the <neck1> was cold afterwards.
        The doctor pressed two fingers to <Bhis> <neck1> and counted to ten.
        <B> felt the sun at <Bhis> neck, warm as a <animal>.
        A silver <blade1>, no longer than a finger, hung at <Bhis> throat on a chain.
        <S> pressed the flowers in a book; a <blade1> had cut them.
        The starter fired the <gun1>, and <number> runners set off for <town>.
        In the opera the villain held a <blade1> to the hero's <neck1> and sang about it.
        "My <relative> will kill me for this," laughed <B>, "that was the good cheese."
        The wound was an old one, from the <job>'s <blade1> and a wet rope.
        <S> never aimed a <gun1> at anybody, not in all those years.
        <S> tore open the letter, signed it, and told <B> to wait.
        <B> knew that it was true: the old <animal> was dead, after <number> good years.
        The <job> prayed for rain, a hand to <Ahis> ear.
        The train is fast as a bullet, <B> said, and smiled.
        The <animal> cocked an ear; a hand on its shoulder made it kneel in the straw.
        <S> sprained a wrist and wore <Ahis> arm in a sling, and <B> carried the <blade1>.
        The peach had a soft skin, and the blade went through it as through butter.
        "You are dead tired," said <A>, "one word, and I will make the bed."
        The bullet points of the list were <colour>; <A> signed below and aimed for the door.
        <B> pressed the bell, felt the sun on <Bhis> skin and waited.
        """
    ),
)

MATURE: dict[str, Kind] = {"brawl": BRAWL, "drinking": DRINK, "cruelty": CRUELTY, "threat": THREAT}
"""Kinds of passages by name."""
