"""Neutral sentences of stories, told in the past tense.

They need a cast: ``A`` and ``B`` are names, ``S`` is the name of A or its pronoun, and ``Ahe``, ``Ahim``, ``Ahis``,
``Bhe``, ``Bhim``, ``Bhis`` are the pronouns.
"""

from __future__ import annotations

from counterpoise.data.sources.prose.grammar import lines

CAST = ("A", "Ahe", "Ahim", "Ahis", "B", "Bhe", "Bhim", "Bhis", "S")
"""Names that a cast binds."""

STORY: dict[str, tuple[str, ...]] = {
    "story": lines(
        "<action>\n<action>\n<action>\n<scenery>\n<scenery>\n<talk>\n<talk>\n<thought>\n<thought>\n<matter>"
    ),
    "action": lines(
        """
        <S> <moved> <toward>[ and <handled> <object>|, <doing>|].
        [<when>, |]<S> <moved> <toward>, where <person> was <doing>.
        <S> <handled> <object> and put it [on the <furniture>|back on the <furniture>|<where>].
        <S> <manner> <handled> <object>[, then another|, as <Ahe> had been told|, for <B> had asked <Ahim> to|].
        [<when>, |]<B> was <doing> <where> when <A> came in with <object>.
        <S> sat down [<where>|on the <furniture>] and began to read about <topic>.
        While <B> was <doing>, <A> <handled> <object>.
        <S> spent the whole [morning|afternoon|evening] <doing>[ and forgot the time|, for <B> was late|].
        <B> <moved> <toward>, and <A> followed <manner>.
        <S> took <object> from the <furniture> and gave it to <B>.
        There was <food> for supper; <A> had two helpings, <B> [three|none|only a spoonful].
        <S> poured <drink> for <person> and asked about <topic>.
        <A> and <B> <moved> <toward>[ together|, talking of <topic>|, each with a <thing>|].
        <when>, <S> wrote to <person> [about <topic>|for advice|in <town>|and enclosed a <thing>].
        <S> put on a <look> <garment>, looked for the <thing>, and <moved> <toward>.
        <S> had promised to [mend|fetch|sell|return] <object>, and <when> <Ahe> did.
        <person> <handled> <object>, and <A> held the <thing>.
        <S> showed <B> how to [fold a <garment>|tune a violin|prune a <plant>|bind a book|bake <food>|read a barometer].
        <when>, <A>, <mood> as always, [swept|aired|painted|locked up] the <room>.
        <S> knocked at the <building>, but [nobody answered|only <person> was in|the <job> had gone out].
        """
    ),
    "scenery": lines(
        """
        The sky was <sky>[, and <weather> was on the way|, and there was a smell of <smell>|].
        <when>, <weather> [came over the <outdoors>|lay on the roofs of <town>|kept everybody indoors|reached <town>].
        From the <outdoors> came <sound>[, and then <sound>|; <A> listened <manner>|].
        The <building> stood <where>, [<look> and <look>|half hidden by a <plant>|next to a <look> <plant>].
        It smelled of <smell>[ and <smell>| <where>|, as it always did in <season>].
        The <room> was [<look> and full of <smell>|crowded with things: a <thing>, a <thing>, a <look> <furniture>].
        A <look> <thing> stood on the <furniture>, next to a <colour> <thing>.
        In <town>, <season> was the season of <food>[ and <weather>|].
        A <animal> [sat|slept|waited|stretched itself] <where>[, watching the <animal>s|, quite <mood>|].
        <number> <animal>s crossed the <outdoors>, and the <animal> looked after them.
        Beyond the <outdoors> one could see [the <building>|the roofs of <town>|the hills|the sea][ on clear days|].
        The <plant> by the <building> [was in bloom|had lost its leaves|had been planted by <person>].
        The light in the <room> was [<sky>|dim|golden]; <sound> was all that could be heard.
        The road to <town> was [muddy|empty|white with dust|lined with <plant>s], and <weather> made it longer.
        Somebody had painted the <furniture> <colour>[ and the door <colour>|].
        The <job>'s <building> had <number> windows and a <look> door.
        """
    ),
    "talk": lines(
        """
        "<remark>," <said> <A>.
        "<remark>," <said> <B>[ <manner>|, <doing>|].
        "<question>?" asked <A>[ <manner>|].
        "<question>?" - "<remark>," <said> <B>.
        "<remark>," <said> <person>, "and <remark2>."
        <S> told <B> about <topic>, and <B> [nodded|smiled|yawned|asked for more].
        <A> and <B> talked about <topic>, then about <topic2>.
        "<remark>." <A> <handled> <object>. "<remark2>."
        <person> spoke at length about <topic>; nobody listened but <A>.
        According to <person>, <remark>.
        """
    ),
    "said": ("said", "said", "said", "replied", "answered", "murmured", "remarked", "whispered", "explained", "added"),
    "remark": lines(
        """
        we keep the <food> on the <furniture>
        you can have the <thing>, I have another
        I have never cared for <abstract>
        it is only the <animal>
        we ought to ask the <job>
        there is a letter for you from <town>
        my <relative> was <job> in <town>
        the train leaves at <hour>
        nobody has seen the <thing> since <day>
        I like the <outdoors> best in <season>
        the <building> is closed on <day>s
        one needs <abstract> for that
        I dreamed of a <look> <animal>
        it will be <season> before we know it
        the <job> says that <weather> is coming
        they want <number> coins for a <thing>
        I should like some <drink>
        you have left the <thing> in the <room>
        <town> is not what it was
        the <relative> will be here by <day>
        we play at the <building> on <day>
        we have enough <food> for everybody
        """
    ),
    "question": lines(
        """
        have you seen the <thing>
        who left the <thing> in the <room>
        have we any <food> left
        when does the <job> come
        do you remember the <building> in <town>
        what do you know of <topic>
        shall we go to the <outdoors>
        is that your <garment>
        would you like <drink> or <drink>
        why is the <animal> in the <room>
        how far is it to <town>
        did <person> write
        """
    ),
    "thought": lines(
        """
        <S> thought of <topic>[ and of <abstract>| and smiled|].
        <S> remembered a <season> in <town>, [the <smell> of it|the <colour> <building>|when <Ahe> was <number>].
        <S> had always been <mood> in the company of <person>.
        For <A>, <abstract> was a matter of <abstract>.
        <S> wondered whether <B> still had the <look> <thing>.
        It occurred to <Ahim> that <remark>.
        <S> felt <mood>[, almost <mood>| and a little <mood>|], as one does <where>.
        <when>, <A> could think of nothing but <topic>.
        <S> did not know much about <topic>, but <Ahe> liked <sound>.
        Perhaps, <A> thought, <remark>.
        <B> looked <mood>, and <A> was <mood> too.
        <S> counted the days until <season>.
        """
    ),
    "matter": lines(
        """
        The <thing> had belonged to <person>, who had [bought|found|won|lost and found] it in <town>.
        Nobody in <town> knew who had <handled> the <look> <thing>.
        Every <day> <person> came with <food> and news of <topic>.
        The concert was to be on <day>; <person> would sing, and <B> would turn the pages.
        In <number> years the <job> had never been late.
        The list was long: <food>, <food>, a <thing>, <number> <garment>s.
        The <job> and the <job> disagreed about <topic>, as they had for <number> years.
        The letter spoke of <topic> and ended with a question about <topic>.
        It was <hour> o'clock; the <building> was closed, and the <outdoors> empty.
        Of everything in the <room>, <A> liked the <look> <colour> <thing> best.
        """
    ),
}
"""Rules of neutral sentences; the rule ``story`` is any of them."""
