"""The criteria, and how posts speak of them: of oneself, today - or of others, of long ago, of what is not so.

The three lists of frames match line by line, so that it is not single words in which they differ.
"""

from __future__ import annotations

from dataclasses import dataclass

from counterpoise.data.sources.prose.grammar import lines, phrases, words

AFFIRMED = lines(
    """
    [Lately|These days|At the moment|For weeks now|Since <season>] I <habit>.
    I <habit>[ most days|, week after week|, and it is getting worse|, whatever I try|].
    I <habit>, and I <habit2>.
    I keep telling my <kin> that all is well, but I <habit>.
    My <kin> has noticed that I <habit>.
    I used to laugh about people who <habit>, and now I <habit2> myself.
    Years ago I was fine; now I <habit>.
    I never thought that I would write this, but I <habit>.
    Unlike my <kin>, I <habit>[ all the time|].
    It is not that I want to, but I <habit>.
    The truth is that I <habit>[, and nobody knows|].
    As I write this, it is the <nth> week in which I <habit>.
    If somebody asks, I say that I am fine, though I <habit>.
    My <kin> does not believe it, but I really do <habit>.
    What bothers me: I <habit>[. On top of it I <habit2>|].
    I am one of those who <habit>[, I am afraid|].
    """
)
"""The writer says it of themselves, today."""
OF_OTHERS = lines(
    """
    [Lately|These days|At the moment|For weeks now|Since <season>] my <kin>'s <folk> <habit>.
    My <kin>'s <folk> <habit>[ most days|, week after week|, and it is getting worse|, whatever they try|].
    My <kin>'s <folk> <habit>, and the twins <habit2>.
    I keep telling my <kin> that all is well, but the <folk> <habit>.
    My <kin> has noticed that our <folk> <habit>.
    I used to laugh about people who <habit>, and now my <kin> has married one.
    Years ago my <folk> were fine; now they <habit>.
    I never thought that I would write this, but my <kin>'s <folk> <habit>.
    Unlike me, my <kin>'s <folk> <habit>[ all the time|].
    It is not that they want to, but my <kin>'s <folk> <habit>.
    The truth is that most people <habit>[, and nobody knows|].
    As I write this, it is the <nth> chapter in which the heroes <habit>.
    If somebody asks, I say that my <folk> are fine, though they <habit>.
    My <kin> does not believe it, but people in <town> really do <habit>.
    What bothers me: my <kin>'s <folk> <habit>[. On top of it they <habit2>|].
    My <kin> is one of those who <habit>[, I am afraid|].
    My <kin> asks what to do with <folk> who <habit>.
    """
)
"""Somebody else, or people in general: true whatever the writer's own case is."""
DENIED = lines(
    """
    [Lately|These days|At the moment|For weeks now|Since <season>] I do not <habit>.
    I never <habit>[ on most days|, week after week|, and it is getting better|, whatever my <kin> says|].
    I do not <habit>, and I do not <habit2>.
    I keep telling my <kin> that all is well and that I do not <habit>.
    My <kin> has noticed that I no longer <habit>.
    I used to <habit>, and now I laugh about it myself.
    Years ago I would <habit>; now I am fine.
    I never thought that I would write this, but I do not <habit> any more.
    Unlike my <kin>, I do not <habit>[ all the time|].
    It is not that I <habit>[; I only like to write|].
    The truth is that I never <habit>[, and nobody knows|].
    As I write this, it is the <nth> week in which I do not <habit>.
    If somebody asks whether I <habit>, I say that I am fine, and I am.
    My <kin> does not believe it, but I really do not <habit>.
    What bothers me: my <kin> thinks that I <habit>. I do not.
    I am not one of those who <habit>.
    My <kin> was afraid that I would <habit>, but all is well.
    """
)
"""The writer says that it is not so, or over, or only feared."""
LEADS = lines(
    """
    Then there is <theme>.
    A word on <theme>.
    My <kin> asked about <theme>[, as always|].
    <theme>, of all things.
    Now for <theme>[, which everybody asks about|].
    You wanted to hear about <theme>.
    What was it with <theme>?
    I have been thinking about <theme>.
    """
)
"""What may introduce any of these: it tells the topic, and nothing else."""
NTH = words("second third fourth fifth sixth seventh tenth")
FOLK = words("parents neighbours children friends colleagues cousins students lodgers")


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One question that is asked of every post."""

    sentence: str
    """What the column ``criterion`` says."""
    weight: float
    """How often it is true, relative to the others."""
    themes: tuple[str, ...]
    """What its topic is called."""
    habits: tuple[str, ...]
    """What somebody does to whom it applies: verb phrases that can follow ``I``, ``never``, ``used to`` and ``who``."""


CRITERIA: dict[str, Criterion] = {
    "fatigue": Criterion(
        sentence="Tiredness: has no energy and is worn out by small tasks",
        weight=0.22,
        themes=phrases("tiredness; energy; being tired; my energy; fatigue"),
        habits=lines(
            """
            feel worn out [before noon|after <number> minutes|by the smallest task]
            have no energy [left for <hobby>|for anything|to [cook|wash up|leave the house]]
            drag [<self> through the day|every step|a heavy body up the stairs]
            need to lie down after [the shopping|the smallest task|a short walk|a shower]
            get tired from [nothing at all|climbing the stairs|answering one letter]
            run out of energy by [noon|<hour> o'clock|the time the bus comes]
            feel like an empty battery[ all day| after breakfast]
            come home exhausted and [leave the coat on|do nothing else]
            """
        ),
    ),
    "sleep": Criterion(
        sentence="Trouble sleeping: lies awake, wakes too early or sleeps far too long",
        weight=0.18,
        themes=phrases("sleep; my nights; sleeping; bedtime; early waking"),
        habits=lines(
            """
            lie awake until <hour> in the morning
            wake up [long before dawn|at <hour> at night] and stare at the ceiling
            toss and turn [half the night|until the birds sing|for hours]
            sleep [<number> hours at most|until the afternoon|far too long] and get up late
            get hardly any sleep [at night|on work days|without pills]
            hear every hour strike at night
            count sheep [until dawn|for hours in the dark]
            oversleep[ on work days|, after a night awake|]
            """
        ),
    ),
    "work": Criterion(
        sentence="Conflict at work: quarrels with colleagues or a superior, is treated unfairly",
        weight=0.14,
        themes=phrases("work; the office; quarrels at work; my colleagues; the boss"),
        habits=lines(
            """
            quarrel with [the boss|a colleague|the whole team|the supervisor]
            get shouted at by [the boss|a manager] in front of the whole office
            have [rows|arguments] with [the supervisor|colleagues] at work
            eat lunch alone because the team [gossips|does not talk to <object>]
            get all the unfair shifts from [the boss|the manager]
            fight with the manager over [every hour|holidays|every report]
            feel bullied by [a colleague|the boss] at the office
            get blamed by colleagues for mistakes in every meeting
            """
        ),
    ),
    "money": Criterion(
        sentence="Money worries: cannot pay bills, is in debt or fears for the rent",
        weight=0.11,
        themes=phrases("money; the bills; the rent; debt; money worries"),
        habits=lines(
            """
            worry about the rent [every month|as soon as the month begins]
            owe money to [the bank|everybody in the family|<number> shops]
            leave the bills unopened [in the drawer|on the table]
            borrow money [for food|for the electricity bill|to pay the rent]
            run out of money by the [tenth|middle] of the month
            count coins [at the till|before buying bread]
            pay one debt with another
            get letters from the bank about [debts|unpaid bills]
            """
        ),
    ),
    "focus": Criterion(
        sentence="Poor concentration: loses the thread when reading, talking or working",
        weight=0.09,
        themes=phrases("concentration; reading; attention; focus; losing the thread"),
        habits=lines(
            """
            read the same page <number> times [and forget it|without taking it in]
            lose the thread in the middle of [a sentence|a talk|a conversation]
            forget what [people said|the task was] a minute ago
            stare at the screen without [a clear thought|writing a line|concentrating]
            need an hour to concentrate on one [page|letter|form]
            drift off in [meetings|conversations|the middle of a film]
            make careless mistakes in [easy sums|every list|every report]
            start <number> tasks and concentrate on none
            """
        ),
    ),
    "appetite": Criterion(
        sentence="Changed appetite: eats hardly anything, or far more than before",
        weight=0.07,
        themes=phrases("appetite; eating; meals; food; my appetite"),
        habits=lines(
            """
            eat hardly anything [but dry toast|all day|at dinner]
            skip [breakfast and lunch|most meals|dinner] without hunger
            push the food around on the plate
            empty the fridge [at night|after work] without being hungry
            eat [<number> bars of chocolate|a whole cake|far too much] in one go
            have no appetite [for anything|even for <food>]
            lose weight because food tastes of nothing
            leave every meal half eaten
            """
        ),
    ),
    "restless": Criterion(
        sentence="Restlessness: cannot sit still, paces up and down or fidgets",
        weight=0.05,
        themes=phrases("restlessness; sitting still; fidgeting; pacing"),
        habits=lines(
            """
            pace up and down the [kitchen|hallway|office] for hours
            fidget [through every meeting|with a pen all day|in the chair]
            get up from the chair every <number> minutes
            drum on the table with restless fingers
            walk round and round the block, too restless to sit
            jiggle one leg [under the table|until the desk shakes]
            """
        ),
    ),
    "guilt": Criterion(
        sentence="Guilt: reproaches oneself and feels to blame for what went wrong",
        weight=0.035,
        themes=phrases("guilt; blame; my conscience; feeling guilty"),
        habits=lines(
            """
            feel guilty [about everything|for the smallest thing|toward the whole family]
            apologise for things that are nobody's fault
            reproach <self> for [old mistakes|what went wrong|every word]
            take the blame for [whatever goes wrong|every failure|the divorce]
            go over old mistakes with a bad conscience
            feel like a burden and blame <self>
            """
        ),
    ),
    "alone": Criterion(
        sentence="Loneliness: withdraws from friends and has nobody to talk to",
        weight=0.025,
        themes=phrases("loneliness; friends; company; being alone"),
        habits=lines(
            """
            have nobody to talk to [on weekends|after work|at all]
            turn down every invitation and stay alone
            avoid friends [in the street|on the phone]
            spend every weekend alone [behind closed curtains|without a word to anybody]
            feel lonely [among people|in every crowd]
            leave the messages of friends unanswered
            """
        ),
    ),
    "aches": Criterion(
        sentence="Aches: headaches, back pain or stomach trouble without a clear cause",
        weight=0.02,
        themes=phrases("headaches; my back; pain; stomach trouble; aches"),
        habits=lines(
            """
            have a headache [by noon|every evening|behind one eye]
            get stomach cramps [before every meeting|after every meal|for no reason]
            hold a hot bottle to an aching back
            take painkillers for headaches that no doctor can explain
            feel a pain in the back [on every stair|for no clear cause]
            suffer from stomach pain [at night|without a cause]
            """
        ),
    ),
}
"""All criteria by a short name, the most frequent first."""
