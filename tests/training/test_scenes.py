import math
import random
import re
import tarfile
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageOps

from training.world import facts as grammar
from training.world import scenes, sprites
from training.world.captions import PLAIN_OPENINGS, make_caption, plural, with_article
from training.world.facts import Facts, Thing, draw_facts, is_held_out
from training.world.nouns import HEADS, MOUNTS, NOUNS, RECOLOURABLE, RIDERS, SYNONYMS
from training.world.paint import COLOURS, PLACE_COLOURS, coloured_sprite, recolour
from training.world.scenes import paint_facts, scene

NUM_SEEDS = 20_000


@pytest.fixture(scope="module")
def drawn():
    """(facts, caption) of many seeds; no picture is needed for these."""
    pairs = []
    for seed in range(NUM_SEEDS):
        source = random.Random(seed)
        facts = draw_facts(source)
        pairs.append((facts, make_caption(facts, source)))
    return pairs


def test_the_vocabulary_is_as_large_as_promised():
    assert len(set(NOUNS)) == len(NOUNS) >= 120
    assert len(RECOLOURABLE) >= 15
    assert len(grammar.BACKGROUND_COLOURS) == 12
    assert len(grammar.PLACES) == 9
    assert set(grammar.OBJECT_COLOURS) | set(grammar.BACKGROUND_COLOURS) == set(COLOURS)
    assert set(grammar.PLACES) == set(PLACE_COLOURS)
    for part in (RIDERS, MOUNTS, HEADS, RECOLOURABLE, SYNONYMS):
        assert part
        assert set(part) <= set(NOUNS)


def test_a_word_means_one_noun():
    words = [*NOUNS, *(word for words in SYNONYMS.values() for word in words)]
    repeated = [word for word, count in Counter(words).items() if count > 1]
    assert repeated == []


def is_plain_single(facts):
    return facts.relation is None and facts.things[0].count == 1 and not facts.is_place


def test_a_seed_gives_the_same_scene_and_seeds_differ():
    first, again, other = scene(7), scene(7), scene(8)
    assert first.caption == again.caption
    assert first.facts == again.facts
    assert np.array_equal(np.asarray(first.image), np.asarray(again.image))
    assert not np.array_equal(np.asarray(first.image), np.asarray(other.image))


def test_a_scene_agrees_with_the_facts_and_captions_drawn_without_painting(drawn):
    for seed in (0, 1, 19_999):
        made = scene(seed)
        assert (made.facts, made.caption) == drawn[seed]
        assert made.image.size == (128, 128)
        assert made.image.mode == "RGB"


@pytest.mark.parametrize("seed", [-1, 1.5, "0", None])
def test_a_bad_seed_is_refused(seed):
    with pytest.raises(ValueError, match="give an int of at least 0"):
        scene(seed)


def test_training_never_contains_a_held_out_combination(drawn):
    assert grammar.HELD_OUT_RIDES[0] == ("astronaut", "horse")
    forbidden_words = [
        *(rf"{rider}s? riding an? (\w+ )?{mount}\b" for rider, mount in grammar.HELD_OUT_RIDES),
        *(rf"\b{colour} {noun}s?\b" for colour, noun in grammar.HELD_OUT_COLOURS),
        *(rf"\b{noun} wearing a crown" for noun in grammar.HELD_OUT_CROWNS),
    ]
    pattern = re.compile("|".join(forbidden_words))
    for facts, caption in drawn:
        nouns = {thing.noun for thing in facts.things}
        assert not any(set(pair) <= nouns for pair in grammar.HELD_OUT_PAIRS), caption
        assert not pattern.search(caption), caption
        for thing in facts.things:
            assert (thing.colour, thing.noun) not in grammar.HELD_OUT_COLOURS, caption


def test_without_the_check_held_out_combinations_would_occur(monkeypatch):
    monkeypatch.setattr(grammar, "is_held_out", lambda facts: False)
    found = [
        facts
        for seed in range(NUM_SEEDS)
        if is_held_out(facts := grammar.draw_facts(random.Random(seed)))
    ]
    assert len(found) > 50


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (Facts((Thing("astronaut"), Thing("horse")), "riding"), True),
        (Facts((Thing("horse"), Thing("astronaut")), "next to"), False),
        (Facts((Thing("astronaut"), Thing("camel")), "riding"), False),
        (Facts((Thing("pizza"), Thing("dog")), "above"), True),
        (Facts((Thing("horse", "blue"),)), True),
        (Facts((Thing("horse", "blue", says_colour=False),)), True),
        (Facts((Thing("horse", "red"),)), False),
        (Facts((Thing("penguin", has_crown=True),)), True),
        (Facts((Thing("penguin"),)), False),
    ],
)
def test_held_out_combinations_are_recognised(facts, expected):
    assert is_held_out(facts) is expected


def test_every_part_of_the_grammar_occurs(drawn):
    assert {facts.relation for facts, _ in drawn} == {
        None,
        grammar.RIDING,
        grammar.NEXT_TO,
        *grammar.SIDE_RELATIONS,
        *grammar.HEIGHT_RELATIONS,
    }
    assert {facts.style for facts, _ in drawn} == set(grammar.STYLES)
    assert {facts.background for facts, _ in drawn} == {
        *grammar.PLACES,
        *grammar.BACKGROUND_COLOURS,
    }
    assert {thing.noun for facts, _ in drawn for thing in facts.things} == set(NOUNS)
    assert {thing.count for facts, _ in drawn for thing in facts.things} == {1, 2, 3}
    coloured = {
        (thing.noun, thing.colour) for facts, _ in drawn for thing in facts.things if thing.colour
    }
    assert len(coloured) == len(RECOLOURABLE) * len(grammar.OBJECT_COLOURS) - len(
        grammar.HELD_OUT_COLOURS
    )
    silent = sum(not facts.says_background for facts, _ in drawn) / len(drawn)
    assert 0.2 < silent < 0.4


def test_captions_are_grammatical(drawn):
    phrases = {phrase for _, caption in drawn for phrase in re.findall(r"\b(an?) (\S+)", caption)}
    assert len(phrases) > 150
    vowel_sounds = ("UFO", "unicorn")
    for article, word in phrases:
        word = word.strip(",")
        sounds_like_vowel = word[0] in "aeiouAEIOU" and word not in vowel_sounds
        assert article == ("an" if sounds_like_vowel else "a"), (article, word)
    for _, caption in drawn:
        assert re.fullmatch(r"[A-Za-z ,-]+", caption), caption
        assert "  " not in caption, caption
        assert caption == caption.strip(), caption


def test_articles_follow_the_sound():
    phrases = "an orange, a unicorn, a UFO, an umbrella, a blue horse, an orange cat, an aeroplane"
    for expected in phrases.split(", "):
        assert with_article(expected.split(" ", 1)[1]) == expected


def test_plurals():
    pairs = (
        "cat cats, fox foxes, bus buses, mouse mice, sheep sheep, puppy puppies, tomato tomatoes, "
        "strawberry strawberries, lorry lorries, snowman snowmen, key keys"
    )
    for pair in pairs.split(", "):
        noun, expected = pair.split()
        assert plural(noun) == expected
    assert plural("cup of coffee") == "cups of coffee"


@pytest.mark.parametrize(
    ("facts", "subject"),
    [
        (Facts((Thing("cat"),), background="orange"), "a cat on an orange background"),
        (Facts((Thing("owl"),), background="in the snow"), "an owl in the snow"),
        (Facts((Thing("owl"),), says_background=False), "an owl"),
        (
            Facts((Thing("panda", has_crown=True),), says_background=False),
            "a panda wearing a crown",
        ),
        (Facts((Thing("pig", "red", count=2),), says_background=False), "two red pigs"),
        (
            Facts((Thing("owl"), Thing("pig", "red")), "to the left of", says_background=False),
            "an owl to the left of a red pig",
        ),
        (Facts((Thing("heart", "red", says_colour=False),), says_background=False), "a heart"),
    ],
)
def test_captions_say_the_facts(facts, subject):
    synonyms_off = random.Random(0)
    synonyms_off.random = lambda: 0.99
    captions = {make_caption(facts, synonyms_off) for _ in range(100)}
    assert captions == {f"{opening}{subject}" for opening in PLAIN_OPENINGS}


def test_left_and_right_above_and_below_are_painted_as_said():
    # A red and a green thing on white; their centres of mass tell where they are.
    def centres(relation, seed):
        things = (Thing("heart", "red"), Thing("book", "green"))
        pixels = np.asarray(
            paint_facts(Facts(things, relation, background="white"), seed), np.float32
        )
        red = np.argwhere((pixels[..., 0] > 150) & (pixels[..., 1] < 120))
        green = np.argwhere((pixels[..., 1] > 120) & (pixels[..., 0] < 120))
        assert len(red) > 100
        assert len(green) > 100
        return red.mean(0), green.mean(0)

    sides = set()
    for seed in range(12):
        red, green = centres("to the left of", seed)
        assert red[1] < green[1] - 20
        red, green = centres("to the right of", seed)
        assert red[1] > green[1] + 20
        red, green = centres("above", seed)
        assert red[0] < green[0] - 20
        red, green = centres("below", seed)
        assert red[0] > green[0] + 20
        red, green = centres("next to", seed)
        sides.add(bool(red[1] < green[1]))
    assert sides == {True, False}


def test_what_is_in_a_scene_says_nothing_about_which_way_it_faces(monkeypatch):
    """Singles on plain colours: they need few draws, so a shared source of chance would show."""
    mirrored = []
    true_mirror = ImageOps.mirror
    monkeypatch.setattr(
        scenes.ImageOps, "mirror", lambda sprite: mirrored.append(1) or true_mirror(sprite)
    )
    seeds = [seed for seed in range(1500) if is_plain_single(draw_facts(random.Random(seed)))]
    for seed in seeds:
        paint_facts(draw_facts(random.Random(seed)), seed)
    assert len(seeds) > 150
    share = len(mirrored) / len(seeds)
    error = math.sqrt(scenes.MIRRORED_SHARE * (1 - scenes.MIRRORED_SHARE) / len(seeds))
    assert abs(share - scenes.MIRRORED_SHARE) < 3.5 * error


def test_a_rider_sits_higher_than_the_mount():
    for seed in range(12):
        facts = Facts((Thing("cat", "red"), Thing("car", "green")), "riding", background="white")
        pixels = np.asarray(paint_facts(facts, seed), np.float32)
        red = np.argwhere((pixels[..., 0] > 150) & (pixels[..., 1] < 120))
        green = np.argwhere((pixels[..., 1] > 120) & (pixels[..., 0] < 120))
        assert red.mean(0)[0] < green.mean(0)[0] - 10


@pytest.mark.parametrize("colour", grammar.OBJECT_COLOURS)
def test_a_recoloured_sprite_has_its_new_colour(colour):
    pixels = np.asarray(coloured_sprite("heart", colour)).astype(np.float32)
    median = np.median(pixels[pixels[..., 3] > 200][:, :3], axis=0)
    distances = {
        name: np.abs(median - np.array(COLOURS[name])).sum() for name in set(grammar.OBJECT_COLOURS)
    }
    assert min(distances, key=distances.get) == colour


def test_recolouring_keeps_the_shape_and_refuses_what_it_cannot_paint():
    sprite = sprites.load_sprite("heart")
    painted = recolour(sprite, "green", "main")
    assert np.array_equal(np.asarray(sprite)[..., 3], np.asarray(painted)[..., 3])
    with pytest.raises(ValueError, match="no 'main' pixels"):
        recolour(Image.new("RGBA", (8, 8), (128, 128, 128, 255)), "green", "main")


@pytest.mark.parametrize("style", grammar.STYLES)
def test_a_style_changes_the_picture_and_only_its_look(style):
    plain = Facts((Thing("cat"),), background="blue")
    pixels = np.asarray(paint_facts(replace(plain, style=style), 3)).astype(int)
    difference = np.abs(pixels - np.asarray(paint_facts(plain, 3)).astype(int)).mean()
    assert (difference == 0) == (style == "plain")
    if style == "pencil drawing":
        assert (pixels.max(-1) == pixels.min(-1)).all()
    if style == "pixel art":
        blocks = pixels.reshape(32, 4, 32, 4, 3)
        assert (blocks == blocks[:, :1, :, :1]).all()


def test_an_unknown_noun_is_refused():
    with pytest.raises(ValueError, match="no sprite for 'wombat'"):
        sprites.sprite_file_names("wombat")


def test_a_wrong_archive_is_refused_and_nothing_is_unpacked(tmp_path):
    archive = tmp_path / "wrong.tgz"
    with tarfile.open(archive, "w:gz"):
        pass
    with pytest.raises(ValueError, match="expected c1bb7eee"):
        sprites.unpack(archive, tmp_path / "cache" / "sprites")
    assert not (tmp_path / "cache").exists()


def test_unpacking_takes_only_the_sprites(tmp_path, monkeypatch):
    source = tmp_path / "source"
    source.mkdir()
    names = [sprites.sprite_file_names(noun)[0] for noun in NOUNS]
    for name in [*names, "unneeded.webp"]:
        (source / name).write_bytes(name.encode())
    archive = tmp_path / "pack.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        for path in source.iterdir():
            tar.add(path, f"package/assets/{path.name}")
    monkeypatch.setattr(sprites, "verify", lambda path: None)
    folder = tmp_path / "cache" / "sprites"
    sprites.unpack(archive, folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    assert sprites.is_complete(folder)
    assert [path.name for path in folder.parent.iterdir()] == ["sprites"]


def test_another_process_may_unpack_first(tmp_path, monkeypatch):
    archive = tmp_path / "pack.tgz"
    with tarfile.open(archive, "w:gz"):
        pass
    folder = tmp_path / "cache" / "sprites"

    def be_late(source, target):
        target.mkdir()
        for noun in NOUNS:
            (target / sprites.sprite_file_names(noun)[0]).write_bytes(b"theirs")
        raise OSError("Directory not empty")

    monkeypatch.setattr(sprites, "verify", lambda path: None)
    monkeypatch.setattr(sprites.os, "replace", be_late)
    sprites.unpack(archive, folder)
    assert sprites.is_complete(folder)
    assert [path.name for path in folder.parent.iterdir()] == ["sprites"]
    sprites.unpack(archive, tmp_path / "cache" / "again")

    def fail(source, target):
        raise OSError("the disk is full")

    monkeypatch.setattr(sprites.os, "replace", fail)
    with pytest.raises(OSError, match="disk is full"):
        sprites.unpack(archive, tmp_path / "elsewhere")


def test_an_empty_folder_of_the_users_is_filled(tmp_path, monkeypatch):
    monkeypatch.setenv(sprites.FOLDER_VARIABLE, str(tmp_path))
    unpacked = []
    monkeypatch.setattr(sprites, "unpack", lambda tar_path, folder: unpacked.append(folder))
    assert sprites.fetch_sprites(tar_path="pack.tgz") == tmp_path
    assert unpacked == [tmp_path]


def test_an_incomplete_folder_of_the_users_is_left_alone(tmp_path, monkeypatch):
    (tmp_path / "mine.txt").write_text("keep me")
    monkeypatch.setenv(sprites.FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(ValueError, match="lacks some of the"):
        sprites.fetch_sprites()
    assert (tmp_path / "mine.txt").read_text(encoding="utf-8") == "keep me"


def test_a_contrary_caption_swaps_the_two_things_and_nothing_else():
    made_scenes = [scene(seed) for seed in range(300)]
    ordered = [made for made in made_scenes if made.facts.relation not in (None, grammar.NEXT_TO)]
    assert len(ordered) > 60
    for made in made_scenes:
        assert (made.contrary_caption is not None) == (made in ordered)
    for made in ordered:
        before, after = made.caption.split(f" {made.facts.relation} ")
        assert sorted(made.contrary_caption.split()) == sorted(made.caption.split())
        swapped_before, swapped_after = made.contrary_caption.split(f" {made.facts.relation} ")
        assert any(swapped_before.endswith(after[:length]) for length in range(5, len(after) + 1))
        assert any(swapped_after.startswith(before[start:]) for start in range(len(before) - 4))
