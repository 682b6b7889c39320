"""The evaluation's figures as Markdown tables, and their place in the model card."""

from collections.abc import Sequence

CARD_START, CARD_END = "<!-- results -->", "<!-- end of results -->"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def format_share(result: dict) -> str:
    """Write a share with its 95 % interval: "0.934 (0.909-0.953)"."""
    return f"{result['share']:.3f} ({result['low']:.3f}-{result['high']:.3f})"


def words(name: str) -> str:
    """Turn a key of the results into words."""
    return name.replace("_", " ")


def fidelity_table(fidelity: dict[str, dict]) -> str:
    """Return the table of prompt fidelity, kinds of combinations included."""
    crowds = ("painted", "renders", "decoded_renders")
    rows = []
    for category, results in fidelity.items():
        total = str(results["painted"]["total"])
        rows.append([words(category), total, *(format_share(results[name]) for name in crowds)])
        for kind in results["painted"].get("kinds", ()):
            ones = [results[name]["kinds"][kind] for name in crowds]
            rows.append([f"- {kind}", str(ones[0]["total"]), *map(format_share, ones)])
    return table(["prompts", "number", *map(words, crowds)], rows)


def curve_table(points: Sequence[dict]) -> str:
    """Return the table of a curve's points."""
    categories = list(points[0]["fidelity"])
    header = ["scheduler", "steps", "guidance", *map(words, categories), "Fréchet", "s/picture"]
    rows = [
        [
            point["scheduler"],
            str(point["num_inference_steps"]),
            f"{point['guidance_scale']:g}",
            *(f"{point['fidelity'][category]['share']:.2f}" for category in categories),
            f"{point['frechet']:.3f}",
            f"{point['seconds_per_picture']:.2f}",
        ]
        for point in points
    ]
    return table(header, rows)


def judge_table(judge: dict[str, dict]) -> str:
    """Return the table of the judge's own accuracy."""
    rows = [
        [
            words(question),
            str(result["total"]),
            format_share(result),
            format_share(judge["decoded_renders"][question]),
        ]
        for question, result in judge["renders"].items()
    ]
    return table(["question", "number", "renders", "decoded renders"], rows)


def make_report(results: dict) -> str:
    """Write all figures as Markdown, from what `evaluate` returned."""
    vae, frechet, diversity = results["vae"], results["frechet"], results["diversity"]
    sampling, machine = results["sampling"], results["machine"]
    how = (
        f"{sampling['scheduler']}, {sampling['num_inference_steps']} steps, guidance "
        f"{sampling['guidance_scale']:g}"
    )
    parts = [
        f"Painted with {how}, from seeds and prompts that training never saw; in brackets 95 % "
        'Wilson intervals. A judge network decides what a picture shows; "renders" is what it '
        "says of true scenes of the same prompts, about what a perfect painter would reach, and "
        '"decoded renders" of the same scenes after the VAE.',
        "Each kind of prompt is asked for one thing: single and two objects for the things; "
        "relation for both things in that relation and order; background for the background alone; "
        "object colour for the thing in its colour; held out for whatever makes the combination.",
        fidelity_table(results["fidelity"]),
        f"The VAE, on {vae['num_scenes']} held-out scenes: PSNR {vae['psnr']:.2f} dB, SSIM "
        f"{vae['ssim']:.4f} (means over the pictures).",
        f"Fréchet distance on the judge's features (not FID), {frechet['num_pictures']} pictures "
        f"against as many held-out renders: {frechet['painted']:.4f}; its floor, renders decoded "
        f"through the VAE: {frechet['decoded_renders']:.4f}; other renders: "
        f"{frechet['renders']:.4f}.",
        "Diversity, the mean distance on the judge's features between pictures of one prompt "
        f"({diversity['num_prompts']} prompts, {diversity['num_seeds']} seeds): "
        f"{diversity['painted']:.3f}, renders {diversity['renders']:.3f}, ratio "
        f'{diversity["ratio"]:.2f}; "{diversity["first_prompt"]}" alone: '
        f"{diversity['first_painted']:.3f}, renders {diversity['first_renders']:.3f}.",
        f"One picture alone took {results['seconds_for_one_picture']:.2f} s on {machine['device']} "
        f"with {machine['num_threads']} thread(s); the seconds below are per picture of a batch.",
        "The curves take few pictures: each point is "
        f"{results['settings']['num_curve_prompts']} prompts of each kind. The Fréchet distance of "
        "so few is larger than the one above; compare it within the curves only.",
        "Over the guidance scale:",
        curve_table(results["guidance_curve"]),
        "Over steps, for three schedulers:",
        curve_table(results["steps_curve"]),
        'The judge on held-out renders ("nouns": all found, none besides):',
        judge_table(results["judge"]),
    ]
    return "\n\n".join(parts) + "\n"


def put_into_card(card: str, report: str) -> str:
    """Return a model card's text with the report between its two markers.

    Raises:
        ValueError: if the card lacks a marker, or has one twice.
    """
    if card.count(CARD_START) != 1 or card.count(CARD_END) != 1:
        raise ValueError(f"the card needs one line {CARD_START} and, after it, one {CARD_END}")
    before, rest = card.split(CARD_START)
    if CARD_END not in rest:
        raise ValueError(f"in the card {CARD_END} stands before {CARD_START}; swap them")
    return f"{before}{CARD_START}\n\n{report}\n{CARD_END}{rest.split(CARD_END)[1]}"
