"""Neutral sentences of posts, told in the first person."""

from __future__ import annotations

from counterpoise.data.sources.prose.grammar import lines, phrases

EVERYDAY: dict[str, tuple[str, ...]] = {
    "everyday": lines("<deed>\n" * 4 + "<surroundings>\n" * 3 + "<opinion>\n" * 2 + "<news>\n" * 3 + "<aside>"),
    "opening": lines(
        """
        Hello everybody[, long time reader, first post|, I hope that this is the right place|].
        Hi all[, this got longer than planned|, sorry for the rambling|].
        I have been meaning to write this for a while[, so here goes|].
        Not sure where to begin[, so I begin with <day>|].
        It is <day> evening and I am writing this [on the train|at the kitchen table|in bed|at the library].
        Some background first: I am [thirty|forty|fifty]-<digit> years old and live in <town>.
        """
    ),
    "closing": lines(
        """
        Thanks for reading[, and good luck to everybody|, it helps to write it down|].
        What do you think[, am I seeing this the wrong way|]?
        That is all for today[, I will write again on <day>|].
        Any advice is welcome[, even about <topic>|].
        """
    ),
    "digit": ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    "kin": phrases(
        """sister; brother; mother; father; aunt; uncle; cousin; neighbour; flatmate; husband; wife; partner; friend;
        colleague; landlord; boss; grandmother; daughter; son; teacher; best friend"""
    ),
    "hobby": phrases(
        """gardening; pottery; chess; photography; the choir; running; knitting; the allotment; swimming; birdwatching;
        baking; my bicycle; the model railway; yoga; crosswords; learning Spanish; the guitar; board games; painting"""
    ),
    "errand": phrases(
        """bought <food>; fixed the <thing>; cleaned the <room>; fed the <animal>; posted a parcel; cut the hedge;
        washed the <garment>; returned a book about <topic>; took the bus to <town>; ordered a <look> <thing>;
        cooked <food>; painted the <furniture> <colour>; called my <kin>; walked the dog;
        watched a film about <topic>; swept the <room>; put up a <look> shelf; labelled the jars; tuned the <thing>"""
    ),
    "deed": lines(
        """
        <when>, I <errand>[, and then I <errand>|].
        On <day> I <errand>[ with my <kin>|, as always|, for once].
        My <kin> and I <errand> <when>.
        We went to the <outdoors> near <town>[, where it smelled of <smell>| and looked at the <animal>s|].
        I have taken up <hobby>[ again|, of all things| with my <kin>].
        <when>, my <kin> came over with <food>, and we talked about <topic>.
        I made <drink> for my <kin> and put <food> on the table.
        I sold the <look> <furniture> to the <job> next door.
        I finally [found|repaired|gave away|labelled] the <thing> that my <kin> had [left|lent me|asked for].
        <when>, my <kin> and I walked <toward>[ and back|, talking about <topic>|].
        I spent <day> <doing>[, which I enjoyed|, and my <kin> helped|].
        I have <number> <animal>s now, and <person> calls me <mood>.
        I brought <food> to the <building>, and nobody but the <job> ate it.
        My <kin> lent me a <look> <thing>, and I <handled> it <manner>.
        I wrote a letter to the <job> in <town> about <topic>.
        While my <kin> was <doing>, I <errand>.
        I have signed up for a course on <topic>, with <person>.
        For my <kin>'s birthday I <handled> a <material> <thing>.
        """
    ),
    "surroundings": lines(
        """
        The weather has been <sky>, with <weather> on most days.
        Our street has a <job>, a <job> and a <look> <building>.
        From my window I see the <building> and a <plant>.
        The <animal> sleeps on the <furniture>[ all day|, as it should|].
        The office is [bright|too warm|full of plants|next to the <outdoors>][, and the kitchen smells of <smell>|].
        It is <season>, and the <plant>s [are out|look tired|need water].
        The train to <town> takes <number> minutes[ on a good day|; I read about <topic>|].
        There is a <look> <thing> on my desk, from my <kin>.
        The <room> is being painted <colour>[, and everything stands in the hallway|].
        It smells of <smell> <where>[, and I like it|].
        I can hear <sound>[ as I write|, and then <sound>|].
        There is <weather> again, and the <outdoors> is empty.
        A <animal> sits <where>[ and looks <mood>|, quite <mood>|].
        The <building> in <town> is <look>, but the <food> is good.
        On the <furniture> lie a <thing>, a <colour> <garment> and <number> letters.
        Behind the house there is a <outdoors> with a <look> <plant>.
        The radio plays all day, mostly songs about <abstract>.
        """
    ),
    "opinion": lines(
        """
        I [like|love|do not mind|cannot get enough of] <topic>.
        <hobby> is [more work than it looks|good for the soul|what I look forward to|cheaper than people think].
        I think that <abstract> matters more than <abstract>.
        Nobody warned me about <topic>.
        My <kin> says that <town> is nicer in <season>, and I agree.
        There ought to be more <food> in the world[, says my <kin>|].
        I never understood <topic>, but my <kin> does.
        If I had a <building>, I would fill it with books and <food>.
        I am told that <topic> is the next big thing.
        <abstract> is underrated, and <abstract> is overrated.
        A good <thing> should last <number> years.
        My <kin> and I disagree about <topic>, in a friendly way.
        Give me <food> and <drink>, and I ask for nothing else.
        I prefer <season> to <season>[, and <food> to <food>|].
        People in <town> are <mood>, if you ask me.
        For <topic> one needs <abstract>, and a <look> <thing>.
        It is easy to be <mood> <where>.
        """
    ),
    "news": lines(
        """
        My <kin> has [moved to <town>|bought a <thing>|become a <job>|taken up <hobby>|adopted a <animal>].
        At work we have a new [coffee machine|project about <topic>|colleague from <town>|calendar with <animal>s].
        The <job> told me about <topic>[ for an hour|, and I took notes|].
        My <kin> used to be a <job> in <town>, years ago.
        Next <day> there is [a concert|a market|a meeting about <topic>] at the <building>.
        For <number> weeks now the <building> has been closed.
        These days everybody talks about <topic>.
        Last <season> we were in <town>[; we lived on <food>|, in a <look> <building>|].
        My <kin> turns [thirty|forty|fifty]-<digit> on <day>, and I still need a <thing>.
        The <job> from <town> has won a prize for <topic>.
        <person> wants to sell the <building>[, <thing>s and all|].
        Somebody left a <look> <thing> <where>, and nobody knows who.
        <when>, the <job> <moved> <toward> with a <thing>.
        The <kin> of my <kin> is <doing> again[, I hear|].
        They say that <weather> is on the way, just in time for <day>.
        The choir sings about <abstract> on <day>, and I turn the pages.
        """
    ),
    "aside": lines(
        """
        Anyway.
        But that is another story.
        Where was I?
        You know how it is with <topic>.
        (My <kin> would laugh at this.)
        So much for <hobby>.
        To be honest, I came for the <food>.
        My <kin> sends greetings.
        More about <topic> another time.
        Not that <abstract> helps.
        I digress.
        """
    ),
}
"""Rules of neutral sentences; the rule ``everyday`` is any of them, ``opening`` and ``closing`` frame a post."""
