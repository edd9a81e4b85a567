"""What postcards can show: subjects and settings, each with the words people would use for it.

A line of `SUBJECTS` is `emoji | nouns | actions | settings`. Nouns and actions are synonyms, parted by commas;
an action stands in its base form ("ride a big wave"), its first word is inflected where a caption needs it.
The settings are those the subject is usually seen in. The emoji field is one of

    🐕          one emoji, or several looks parted by spaces
    🏄*         a person: also drawn in five skin tones, as a man and as a woman
    🧟^         a person: also drawn as a man and as a woman
    @🍳         a person at work, joined from an adult and the thing: drawn in the same variety
"""

SKIN_TONES = ("", "\U0001f3fb", "\U0001f3fc", "\U0001f3fd", "\U0001f3fe", "\U0001f3ff")

SUBJECTS: dict[str, str] = {
    "people": """
🏄* | surfer, surfer, surfboarder | ride a big wave, surf a wave, balance on a surfboard, ride a wave | beach
🏊* | swimmer | swim, swim through the water, swim freestyle | beach lake
🚣* | rower, oarsman | row a wooden boat, paddle a boat with oars | lake beach
🤽* | water polo player | play water polo, throw a ball in the water | lake beach
🚴* | cyclist, bicyclist | ride a bicycle, pedal a bike, cycle along | street meadow forest
🚵* | mountain biker | ride a mountain bike, cycle up a rough trail | mountain forest
🏇 | jockey, horse rider | race a horse, gallop on a racehorse | stadium meadow farm
⛷️ | skier | ski, ski downhill, race on skis | snow mountain
🏂 🏂🏻 🏂🏽 🏂🏿 | snowboarder | ride a snowboard, snowboard downhill | snow mountain
🏌* | golfer, golf player | swing a golf club, play golf | meadow
🏃* | runner, jogger, sprinter | run, jog, sprint fast | street stadium forest
🚶* | walker, pedestrian | walk, stroll along | street forest
🧗* | climber, rock climber | climb, climb a rock with a rope | mountain
🏋* | weightlifter, bodybuilder | lift weights, lift a heavy barbell | stadium room
🤸* | gymnast, acrobat | do a cartwheel, turn a somersault | stadium meadow
🤾* | handball player | throw a handball, play handball | stadium
⛹* | basketball player | dribble a basketball, play basketball | stadium street
🤹* | juggler | juggle, juggle three balls | stage street
🧘* | yogi, yoga teacher | meditate, sit cross-legged | beach mountain room
💃 💃🏻 💃🏽 💃🏿 | ballroom dancer, woman in a red dress | dance the tango, twirl in a dress | stage street
🕺 🕺🏻 🕺🏽 🕺🏿 | disco dancer, man in a purple suit | dance disco, dance with one arm up | stage
🤺 | fencer, swordsman | fence, lunge with a sword | stadium stage
🪂 | parachutist, skydiver | parachute down, float under a parachute | mountain meadow
🧙* | wizard, sorcerer | cast a spell, wave a magic wand | forest night stage
🧚* | fairy | flutter about, fly on tiny wings | forest night
🧛* | vampire | lurk, hide in a cape | night stage
🧜* | mermaid, merman | flip a fish tail, dive under | sea beach
🧟^ | zombie | stagger along, reach out with both arms | night street
🦸* | superhero | save the day, pose in a cape and mask | street night
@🍳 | chef, cook | cook, fry an egg in a pan, prepare a meal | kitchen
@🌾 | farmer | harvest wheat, work on the crops | farm meadow
@🚒 | firefighter, fireman | put out a fire, stand in a helmet | street
@🚀 | astronaut, spaceman | float in a space suit, explore space | night desert
@🎨 | painter, artist | paint a picture, hold a palette | classroom room meadow
@🎤 | singer, vocalist | sing, sing into a microphone | stage
@🔧 | mechanic, plumber | hold a wrench, repair something | street room
@🏭 | welder, factory worker | weld, wear a welding mask | street
@🔬 | scientist, chemist | look through a microscope, do an experiment | classroom
@⚕️ | doctor, nurse, physician | wear a stethoscope, wait for patients | room street
@🏫 | teacher, professor | teach, explain a lesson | classroom
@🎓 | graduate | celebrate graduation, wear a gown and a square cap | classroom stage
@✈️ | pilot, aviator | wear a pilot uniform, get ready for a flight | street desert
@💻 | programmer, software developer | type on a laptop, write code | room classroom
👮* | police officer, policeman, cop | patrol, direct the traffic | street
👷* | construction worker, builder | build, wear a hard hat | street
💂* | royal guard, sentry | keep watch, stand at attention | street
🕵* | detective, spy | investigate, search with a magnifying glass | street night
🥷 🥷🏻 🥷🏽 🥷🏿 | ninja | sneak around, hide in black clothes | night forest
👶 👶🏻 👶🏽 👶🏿 | baby, infant, toddler | giggle, crawl | room
👸 👸🏻 👸🏽 👸🏿 | princess | wear a tiara, smile like a princess | stage room
🎅 🎅🏻 🎅🏽 🎅🏿 | Santa Claus, Santa | bring presents, laugh in a red hat | snow night
👵 👵🏻 👵🏽 👵🏿 | grandmother, old woman, elderly lady | smile kindly, tell a story | room kitchen
👴 👴🏻 👴🏽 👴🏿 | grandfather, old man, elderly man | nod, remember old times | room street
""",
    "animals": """
🐕 🐕‍🦺 🦮 | dog, hound | run, fetch a stick, wag its tail | meadow street beach
🐩 | poodle | trot, show off its curls | street room
🐈 | cat, kitten, tabby | stretch, lick its paw | room kitchen
🐈‍⬛ | black cat | creep along, cross the path | night street
🐅 | tiger | prowl, stalk its prey | forest
🐆 | leopard, cheetah | sprint, hunt | desert forest
🦁 | lion | roar, shake its mane | desert meadow
🐎 | horse, stallion | gallop, trot | meadow farm
🦄 | unicorn | toss its horn, dream | forest night
🦓 | zebra | graze, show its stripes | desert meadow
🦌 | deer, stag | graze, raise its antlers | forest meadow
🐄 | cow, dairy cow | graze, chew the grass | farm meadow
🐖 | pig, hog | roll in the mud, snort | farm
🐏 | ram | butt with its horns, charge | farm mountain
🐑 | sheep, lamb | graze, bleat | farm meadow
🐐 | goat, billy goat | climb, nibble leaves | mountain farm
🐪 🐫 | camel, dromedary | trudge along, carry a hump | desert
🦙 | llama, alpaca | spit, look around | mountain farm
🦒 | giraffe | stretch its long neck, browse leaves | desert meadow
🐘 | elephant | swing its trunk, trumpet | desert forest
🦏 | rhinoceros, rhino | charge, lower its horn | desert
🦛 | hippopotamus, hippo | wallow, yawn | lake
🐁 | mouse | nibble, squeak | kitchen farm
🐇 | rabbit, bunny, hare | hop, nibble clover | meadow
🐿️ | squirrel, chipmunk | gather nuts, scurry | forest
🦔 | hedgehog | curl up, snuffle | forest meadow
🦇 | bat | flap at dusk, hang around | night
🐻 | brown bear, grizzly | growl, look for honey | forest
🐻‍❄️ | polar bear | cross the ice, wait for a seal hole | snow
🐨 | koala | doze, cling to a branch | forest
🐼 | panda | munch bamboo, chew bamboo | forest
🦥 | sloth | hang lazily, move slowly | forest
🦦 | otter | float on its back, play with pebbles | lake
🦘 | kangaroo | hop, bounce along | desert
🦨 | skunk | raise its tail, stink | forest
🦃 | turkey | gobble, fan its tail | farm
🐓 | rooster, chicken, hen | crow, peck at grain | farm
🐤 | chick | chirp, cheep | farm
🐧 | penguin | waddle, slide on its belly | snow
🕊️ | dove, pigeon | glide, carry an olive branch | street meadow
🦅 | eagle, hawk | soar, spread its wings | mountain
🦆 | duck, mallard | quack, dive for food | lake
🦢 | swan | drift, bend its neck | lake
🦉 | owl | hoot, stare with big eyes | night forest
🦩 | flamingo | stand on one leg, wade | lake
🦚 | peacock | display its feathers, strut | meadow
🦜 | parrot, macaw | talk, copy voices | forest
🐸 | frog, toad | croak, leap | lake
🐊 | crocodile, alligator | snap its jaws, bask | lake
🐢 | turtle, tortoise | creep, carry its shell | beach
🦎 | lizard, gecko | sunbathe, flick its tongue | desert
🐍 | snake, serpent | slither, hiss | desert forest
🐉 | dragon | breathe fire, guard a treasure | night mountain
🦖 | tyrannosaurus, dinosaur | stomp, show its teeth | forest desert
🦕 | brontosaurus, long-necked dinosaur | lumber along, eat treetops | forest lake
🐋 🐳 | whale | spout water, surface slowly | sea beach
🐬 | dolphin, porpoise | jump out of the water, splash | sea beach
🦭 | seal, sea lion | bark, clap its flippers | beach snow
🐟 | fish | swim in circles, glide through the water | sea
🐠 | tropical fish, angelfish | show its bright scales, swim by a reef | sea
🦈 | shark | circle, bare its fins | sea
🐙 | octopus, squid | wave its tentacles, squirt ink | sea
🐌 | snail | leave a trail of slime, crawl slowly | meadow forest
🦋 | butterfly, moth | flit, visit flowers | meadow
🐝 | bee, honeybee, bumblebee | buzz, collect nectar | meadow
🐜 | ant | march, carry a crumb | meadow kitchen
🐞 | ladybug, ladybird | crawl, show its spots | meadow
🕷️ | spider, tarantula | spin a web, dangle | night room
🦀 | crab | scuttle sideways, pinch | beach sea
🦞 | lobster, crayfish | click its claws, crawl backwards | sea kitchen
🐒 | monkey, ape | swing around, scratch itself | forest
🦍 | gorilla | beat its chest, knuckle along | forest
🐺 | wolf | howl, bare its fangs | night snow forest
🦊 | fox | sniff, slink | forest snow
""",
    "vehicles": """
🚗 | red car, automobile, hatchback | drive, wait at a light | street
🚕 | taxi, cab, yellow taxi | wait for passengers, pick up a guest | street
🚙 | blue car, jeep | drive off road, bump along | desert mountain street
🚌 | bus, coach | stop for passengers, carry commuters | street
🚒 | fire truck, fire engine | hurry to a fire, flash its lights | street
🚑 | ambulance | rush to the hospital, sound its siren | street
🚓 | police car, squad car | chase a thief, patrol slowly | street
🚚 | truck, lorry, delivery truck | deliver goods, unload boxes | street
🚜 | tractor | plow, pull a plow | farm meadow
🏎️ | racing car, formula one car | race, speed past | stadium street
🏍️ | motorcycle, motorbike | roar past, lean into a bend | street desert
🛵 | scooter, moped | putter along, dodge the traffic | street
🚲 | bicycle, parked bike | lean against a wall, stand locked | street meadow
🛹 | skateboard | roll, flip over | street
🚂 | steam train, locomotive | puff smoke, pull wagons | mountain meadow
🚋 | tram, streetcar | ring its bell, follow the rails | street
✈️ | airplane, plane, jet | fly, take off | mountain desert
🚁 | helicopter, chopper | hover, spin its rotor | mountain street
🚀 | rocket, spaceship | blast off, launch | night desert
🛸 | flying saucer, UFO | beam down, hover silently | night desert
⛵ | sailboat, yacht | sail, catch the wind | beach lake
🚢 | cruise ship, ocean liner | cruise, leave port | beach
🛶 | canoe, kayak | drift, glide downstream | lake
🚤 | speedboat, motorboat | race over the water, throw up spray | lake beach
""",
    "food": """
🍎 | red apple, apple | shine, ripen | kitchen farm
🍌 | banana | ripen, turn yellow | kitchen forest
🍇 | bunch of grapes | hang, glisten | kitchen farm
🍉 | slice of watermelon, watermelon | drip with juice, refresh | beach kitchen
🍊 | orange, tangerine | glow, wait to be peeled | kitchen
🍋 | lemon | smell fresh, gleam | kitchen
🍍 | pineapple | stand upright, wear a leafy crown | beach kitchen
🍓 | strawberry | lie freshly picked, redden | kitchen meadow
🍒 | cherry, pair of cherries | dangle, hang in pairs | kitchen
🍑 | peach | blush, soften | kitchen
🥑 | avocado | lie cut in half, show its stone | kitchen
🥕 | carrot | point upward, lie unpeeled | kitchen farm
🌽 | ear of corn, corn cob | dry, lie husked | farm kitchen
🥦 | head of broccoli, broccoli | steam, lie washed | kitchen
🍄 | mushroom, toadstool | grow, pop up | forest
🍞 | loaf of bread, bread | cool, lie sliced | kitchen
🥨 | pretzel | lie salted, lie twisted | kitchen street
🧀 | piece of cheese, cheese | stink, show its holes | kitchen
🥚 | egg | balance, lie unbroken | kitchen farm
🍔 | hamburger, burger | drip with sauce, tempt | kitchen street
🍕 | pizza, slice of pizza | melt, drip with cheese | kitchen street
🌭 | hot dog, sausage | sizzle, lie in a bun | street stadium
🌮 | taco | spill its filling, crunch | kitchen desert
🍣 | sushi, piece of sushi | lie on rice, wait to be tasted | kitchen
🍦 🍨 | ice cream, ice cream cone | melt away, drip | beach street
🍩 | doughnut, donut | lie glazed, show its sprinkles | kitchen
🍪 | cookie, biscuit | crumble, lie half eaten | kitchen
🎂 | birthday cake, cake | wait for a party, show its candles | kitchen room
☕ | cup of coffee, coffee | steam away, warm the air | kitchen room
🍷 | glass of wine, wine | breathe, shimmer | room kitchen
🍺 | mug of beer, beer | foam, bubble | street kitchen
""",
    "instruments": """
🎸 | electric guitar, guitar | ring out, wait to be played | stage room
🎻 | violin, fiddle | sound sweetly, rest with its bow | stage room
🎺 | trumpet, bugle | blare, gleam in brass | stage
🎷 | saxophone, sax | play jazz, wail | stage
🎹 | piano, keyboard | show its keys, sound softly | stage room
🥁 | drum, snare drum | beat, rattle | stage
🪗 | accordion, squeezebox | wheeze, fold up | stage street
🪕 | banjo | twang, wait for its strings | farm stage
🎤 | microphone, mic | amplify, pick up sound | stage
""",
    "things": """
⚽ | soccer ball, football | roll along, lie on the spot | stadium meadow
🏀 | basketball, orange ball | bounce, lie deflated | stadium street
🪁 | kite | dance in the wind, tug at its string | beach meadow
🎈 | balloon, red balloon | float up, drift away | street meadow
☂️ | umbrella, purple umbrella | stay open, keep off the rain | street
🏖️ | beach umbrella, parasol | give shade, shade the sand | beach
⛺ | tent | stand pitched, flap | mountain forest meadow
🔥 | campfire, fire, bonfire | burn, crackle, blaze | forest night beach
📷 | camera | take a photograph, lie forgotten | street mountain
📚 | stack of books, pile of books | wait to be read, lie piled up | classroom room
💻 | laptop, notebook computer | hum, show a screen | classroom room
📱 | phone, smartphone | vibrate, light up | room street
⏰ | alarm clock, clock | tick, ring loudly | room
🪑 | chair, wooden chair | stand empty, wobble | room kitchen classroom
🛋️ | sofa, couch | look comfortable, stand beside a lamp | room
🛏️ | bed | stand made, invite to sleep | room
📺 | television, TV set | flicker, show a program | room
🔑 | key, golden key | lie lost, lie unused | street room
🔭 | telescope | point at the stars, stand on a tripod | night mountain
🔨 | hammer | lie ready, rest after work | street farm
✂️ | pair of scissors, scissors | lie open, lie ready to cut | classroom room
🎒 | backpack, school bag | lie packed, hold school things | classroom mountain
🎩 | top hat, magician hat | hide a surprise, look elegant | stage
👑 | crown, golden crown | sparkle, lie in state | stage night
🧸 | teddy bear, stuffed bear | lie cuddled, sit alone | room
⛄ | snowman | stand frozen, melt slowly | snow
🌻 | sunflower | bloom, turn to the sun | meadow farm
🌹 | rose, red rose | bloom, lose a petal | meadow room
🌵 | cactus | stand with spines, store water | desert
🌴 | palm tree, palm | sway, bend over | beach desert
🎄 | Christmas tree, decorated fir | twinkle, stand decorated | snow room
🎁 | gift, present, wrapped box | wait to be opened, wear a ribbon | room
🕯️ | candle | flicker low, burn down | room night
🏆 | trophy, golden cup | gleam, wait for the winner | stadium stage
""",
}

# How each setting is named in a caption, with its preposition. Every phrase of one setting shares no
# noun with another's, so that the words tell settings apart.
SETTINGS: dict[str, tuple[str, ...]] = {
    "beach": (
        "at the beach",
        "on the beach near the waves",
        "by the ocean",
        "near the beach",
        "on the sandy shore",
        "on the seaside",
    ),
    "snow": (
        "on a snowy slope",
        "in the snow",
        "on a ski slope",
        "on a snow covered hill",
        "in deep white snow",
    ),
    "street": (
        "on a city street",
        "in the street",
        "in town",
        "on a road between buildings",
        "in front of tall buildings",
    ),
    "lake": ("by a lake", "at the lake", "near a calm lake", "beside a pond", "at the edge of a pond"),
    "meadow": ("in a meadow", "on the grass", "in a green field", "in a grassy meadow", "among wildflowers"),
    "forest": ("in the forest", "in the woods", "among the trees", "between tall trees", "in a dark forest"),
    "mountain": (
        "in the mountains",
        "below a mountain peak",
        "near a rocky summit",
        "with mountains behind",
        "in front of a mountain",
    ),
    "desert": (
        "in the desert",
        "among the dunes",
        "on a hot dune",
        "in a dry desert",
        "under the desert sun",
    ),
    "night": (
        "at night",
        "under the stars",
        "under a starry sky",
        "in the moonlight",
        "below the moon at night",
    ),
    "stage": ("on stage", "on a stage", "in front of red curtains", "under the spotlights", "in a theater"),
    "kitchen": (
        "in a kitchen",
        "in the kitchen",
        "next to a stove",
        "on a tiled kitchen floor",
        "near the kitchen cupboards",
    ),
    "room": (
        "in a living room",
        "at home",
        "inside a cozy room",
        "on a carpet at home",
        "beside a window in the living room",
    ),
    "stadium": (
        "in a stadium",
        "in the arena",
        "on a sports ground",
        "before a crowd of fans",
        "on the pitch",
    ),
    "farm": ("on a farm", "near a barn", "in front of a red barn", "in a farmyard", "behind a farm fence"),
    "sea": ("under water", "underwater", "deep under the sea", "among corals", "at the bottom of the sea"),
    "classroom": (
        "in a classroom",
        "at school",
        "in front of a blackboard",
        "beside a chalkboard",
        "in a school classroom",
    ),
}

# Seen in the sky of outdoor settings, and sometimes said.
SKIES: dict[str, tuple[str, ...]] = {
    "clear": ("on a sunny day", "in bright sunshine"),
    "sunset": ("at sunset", "in the evening light"),
    "cloudy": ("on a cloudy day", "under grey clouds"),
}
OUTDOORS = frozenset(
    {"beach", "snow", "street", "lake", "meadow", "forest", "mountain", "desert", "stadium", "farm"}
)

# Subjects drawn in the upper half of a picture.
AIRBORNE = frozenset(["🪂", "🧚", "🦇", "🕊️", "🦅", "🦉", "🦋", "🐝", "✈️", "🚁", "🚀", "🛸", "🪁", "🎈", "🦸"])

IRREGULAR_PLURALS = {
    "man": "men",
    "woman": "women",
    "snowman": "snowmen",
    "superhero": "superheroes",
    "policeman": "policemen",
    "fireman": "firemen",
    "spaceman": "spacemen",
    "merman": "mermen",
    "oarsman": "oarsmen",
    "swordsman": "swordsmen",
    "mouse": "mice",
    "wolf": "wolves",
    "deer": "deer",
    "sheep": "sheep",
    "fish": "fish",
    "angelfish": "angelfish",
    "crayfish": "crayfish",
    "loaf": "loaves",
    "squid": "squid",
    "scissors": "scissors",
    "Santa": "Santas",
}

# Verbs of one stressed syllable that double their last letter before "-ing".
DOUBLING_VERBS = frozenset(
    {
        "run",
        "swim",
        "jog",
        "hop",
        "nod",
        "flip",
        "get",
        "spin",
        "wag",
        "trot",
        "snap",
        "flap",
        "tug",
        "hum",
        "drip",
    }
    | {"put", "sit", "flit", "clap", "cut", "dig", "pop", "dip", "grab"}
)

# Nouns without "a": "some bread".
MASS_NOUNS = frozenset({"bread", "cheese", "coffee", "wine", "beer", "sushi", "broccoli", "ice cream"})
PROPER_NAMES = frozenset({"Santa Claus", "Santa"})
