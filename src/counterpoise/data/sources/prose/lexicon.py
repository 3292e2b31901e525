"""The words of generated texts, by the rule that draws them."""

from __future__ import annotations

from counterpoise.data.sources.prose.grammar import phrases, words

WOMEN = words(
    """Adela Agnes Alma Anneke Beatrix Brida Carmen Clara Dagmar Delia Edith Elke Esther Fenna Flora Greta Hanna Hazel
    Ilse Ines Iris Jolanda Judith Katrin Lena Lotte Luisa Mabel Marta Minna Mirjam Nadja Nora Olga Paula Petra Renate
    Rosa Ruth Salome Selma Sonja Tilda Ursula Vera Wanda Yvonne Zita"""
)
MEN = words(
    """Albin Anton Arne Benno Boris Caspar Conrad Damian Dirk Edgar Emil Felix Fritz Gustav Hector Henning Hugo Igor
    Ivo Jakob Jasper Jonas Kaspar Kilian Lambert Leopold Linus Ludwig Magnus Marek Matthis Milan Nestor Oskar Otto
    Pavel Quentin Ralf Roland Rufus Simon Stefan Theo Tobias Ulrich Viktor Walter Yannick"""
)

LEXICON: dict[str, tuple[str, ...]] = {
    "town": words(
        """Aldermoor Barrowmere Brackwater Callendale Coldharbour Dunmarsh Eastwick Ellerby Fallowfield Farnholm
        Gallowgate Glassmere Harrowden Hazelford Ironbridge Kestrelby Lanternquay Longmeadow Marrowby Millhaven
        Nettlecombe Northfold Oakhampton Oldcastle Pendleton Quarrydown Ravenscar Redcliffe Saltmouth Sandford
        Thornbury Underhill Wetherby Whitechurch Windlesham Yarrowdale"""
    ),
    "room": words(
        """kitchen parlour pantry attic hallway study library nursery bedroom laundry scullery workshop greenhouse
        conservatory gallery office classroom dormitory chapel infirmary washhouse studio archive cloakroom bakery
        stable barn boathouse shed tower"""
    ),
    "outdoors": words(
        """garden orchard meadow harbour market churchyard quay courtyard square bridge path lane riverbank hillside
        beach pier park playground vineyard canal terrace towpath embankment clearing ridge pasture allotment
        fairground station platform crossroads ferry lighthouse"""
    ),
    "building": words(
        """house cottage inn mill bakery school church farm hotel theatre museum town-hall warehouse hospital
        post-office pharmacy bookshop café brewery convent windmill signal-box barracks manor villa farmhouse
        boarding-house smithy dairy observatory"""
    ),
    "thing": words(
        """lantern basket kettle umbrella notebook compass suitcase ledger candle telescope blanket hammer mirror clock
        violin accordion map ladder broom bucket wheelbarrow satchel envelope parcel teapot thimble spool pencil
        inkwell paintbrush trowel rake lamp bicycle barometer magnifying-glass jug tray pillow rug vase whistle
        typewriter gramophone radio camera newspaper diary atlas calendar key padlock matchbox spectacles-case
        walking-stick hatbox sewing-box chessboard flute trumpet photograph postcard ticket stamp-album"""
    ),
    "furniture": words(
        """table bench armchair cupboard dresser shelf stool bookcase desk wardrobe sideboard bed cradle chest sofa
        counter cabinet washstand piano rocking-chair windowsill mantelpiece doorstep staircase"""
    ),
    "food": words(
        """bread porridge soup cheese butter honey jam pancakes dumplings noodles rice lentils beans potatoes cabbage
        carrots onions mushrooms apples pears plums cherries walnuts almonds raisins gingerbread biscuits pudding
        custard sausages herring trout omelette pie stew mustard pickles radishes pumpkin marmalade rolls cake"""
    ),
    "drink": words("tea coffee cocoa milk lemonade cider buttermilk broth water juice"),
    "garment": words(
        """coat scarf hat cap shawl apron glove jacket waistcoat sweater frock skirt shirt collar boot slipper cardigan
        raincoat dressing-gown stocking sash belt mitten bonnet tunic cloak"""
    ),
    "animal": words(
        """cat dog goat donkey hen duck heron swallow owl sparrow blackbird magpie rabbit hedgehog squirrel
        badger otter hare lamb bull mare spaniel terrier kitten tortoise pigeon rooster crow gull stork bat"""
    ),
    "plant": words(
        """oak rowan willow chestnut lime-tree elder hawthorn fern bramble lavender rosemary thyme geranium
        tulip daffodil hyacinth lilac hollyhock sunflower clover nettle reed heather juniper fir pine
        walnut-tree apple-tree cherry-tree hazel dahlia begonia fuchsia marigold"""
    ),
    "job": words(
        """baker miller teacher carpenter postman ferryman librarian gardener tailor cobbler clockmaker watchman
        beekeeper fisherman blacksmith apothecary conductor printer stonemason plumber surveyor bookbinder organist
        photographer seamstress nurse doctor notary mayor sexton grocer butcher caretaker painter weaver potter
        shepherd stationmaster ropemaker translator"""
    ),
    "relative": words(
        """mother father aunt uncle cousin grandmother grandfather sister brother niece nephew godmother godfather
        neighbour landlady lodger stepmother brother-in-law"""
    ),
    "colour": words(
        """red blue green yellow brown grey white black purple orange crimson scarlet turquoise ivory silver golden
        copper violet pale-blue dark-green rust-red"""
    ),
    "material": words("wooden tin brass leather paper linen woollen velvet straw copper iron glass silk canvas clay"),
    "look": words(
        """small large narrow broad heavy light crooked smooth rough worn polished faded dusty shiny battered cracked
        old new borrowed forgotten painted square round tiny enormous plain elegant clumsy delicate solid hollow
        patched mended spotless rusty folded tangled neat"""
    ),
    "mood": words(
        """cheerful tired patient puzzled curious proud nervous calm thoughtful grateful restless sleepy hopeful
        stubborn amused solemn shy content embarrassed relieved
        impatient cautious eager absent-minded pleased wistful earnest
        serious attentive homesick bored polite"""
    ),
    "manner": words(
        """slowly quietly carefully quickly gently cheerfully thoughtfully patiently briskly absently politely firmly
        softly eagerly calmly reluctantly awkwardly gratefully solemnly happily curiously silently neatly hastily
        steadily warily warmly drowsily methodically stubbornly"""
    ),
    "abstract": words(
        """patience silence memory kindness courage weather arithmetic geography music poetry tradition luck friendship
        childhood summer winter distance time work home travel honesty ambition freedom order beauty law history
        gossip politics"""
    ),
    "topic": phrases(
        """the price of flour; the new railway; old coins; the migration of birds; the history of the bridge; bees;
        the stars; sailing knots; the coming election; recipes for plum cake; the parish accounts; mountain passes;
        foreign stamps; the art of grafting pears; the moon; lighthouses; steam engines; the habits of moles;
        crossword puzzles; the opera; the harvest; the flood of last spring; a lost glove; the timetable;
        the school concert; the new doctor; the leaking roof; folk songs; ink; wallpaper; the tides; old maps"""
    ),
    "sound": phrases(
        """the ticking of the clock; the murmur of the river; the creak of the stairs; the whistle of a train;
        the hum of the bees; the barking of a distant dog; the clatter of plates; the tolling of the bell;
        the rustle of paper; the patter of the rain; the cry of a gull; the scrape of a chair; the song of a blackbird;
        the rumble of a cart; the tapping of a typewriter; the sigh of the wind; the laughter of children"""
    ),
    "smell": phrases(
        """fresh bread; wet leaves; floor polish; coal smoke; cut hay; soap; coffee; old books; lamp oil; cinnamon;
        damp wool; roses; tar and rope; boiled cabbage; pine resin; peppermint; chalk; apples; beeswax; rain on stone"""
    ),
    "sky": words("grey clear overcast pale cloudless milky leaden bright hazy silvery restless low"),
    "weather": phrases(
        """rain; drizzle; fog; snow; sleet; wind; sunshine; frost; mist; hail; a warm breeze; a light shower;
        the first snow; a thin fog; an early frost; the east wind"""
    ),
    "season": words("spring summer autumn winter January February March April May June July August September October"),
    "day": words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday"),
    "number": words("two three four five six seven eight nine ten eleven twelve twenty thirty forty"),
    "hour": words("one two three four five six seven eight nine ten eleven"),
    "when": phrases(
        """that morning; that afternoon; that evening; the next day; a week later; on <day>; at noon; after breakfast;
        before supper; towards evening; early in <season>; late in <season>; at <hour> o'clock; after the service;
        some days later; during the holidays; by the end of the week; on market day; when the lamps were lit;
        a little before dawn; soon afterwards; later; in the meantime; every <day>; that year;
        for the first time in months"""
    ),
    "moved": words(
        """walked strolled hurried wandered ran crept marched limped cycled trudged ambled climbed returned drifted
        stepped turned went came tiptoed"""
    ),
    "toward": phrases(
        """across the <outdoors>; to the <building>; down to the <outdoors>; along the <outdoors>; into the <room>;
        out of the <room>; up to the <room>; past the <building>; towards the <outdoors>; back to the <building>;
        through the <room>; round the <building>; over the hill to <town>; by way of the <outdoors>"""
    ),
    "where": phrases(
        """in the <room>; at the <outdoors>; by the <furniture>; near the <building>; under the <plant>;
        beside the <furniture>; at the <building>; behind the <building>; by the <outdoors>; outside the <building>;
        opposite the <building>; among the <plant>s; in <town>"""
    ),
    "handled": words(
        """carried lifted opened closed polished repaired examined wrapped unwrapped moved fetched hung placed found
        packed unpacked dusted painted mended borrowed returned counted cleaned turned dropped weighed described drew
        admired sold bought hid kept remembered labelled sorted"""
    ),
    "doing": phrases(
        """peeling <food>; sweeping the <room>; reading about <topic>; mending a <garment>; watering the <plant>s;
        writing a letter; feeding the <animal>s; counting stamps; polishing the <thing>; humming a tune;
        looking for the <thing>; waiting for the post; drawing a <animal>; folding a <garment>; making <drink>;
        stirring the soup; chopping wood; practising scales; copying a list; playing cards; tidying the <furniture>;
        studying a map; cutting <food>; ironing a <garment>; listening to <sound>; dreaming of <abstract>"""
    ),
    "person": phrases(
        """the <job>; the old <job>; the <job>'s wife; <Ahis> <relative>; the <mood> <job>; a stranger; the young <job>;
        the <job> from <town>; somebody; a girl with a <thing>; a boy in a <colour> <garment>; the <relative>"""
    ),
    "object": phrases(
        """the <thing>; a <look> <thing>; the <colour> <thing>; a <material> <thing>; the <look> <material> <thing>;
        <Ahis> <thing>; <Ahis> <colour> <garment>; the <thing> and the <thing>; a plate of <food>; a cup of <drink>;
        a jar of <food>; the <relative>'s <thing>; the <job>'s <look> <thing>; a <look> <colour> <garment>"""
    ),
}
"""Rules of single words and small phrases."""
