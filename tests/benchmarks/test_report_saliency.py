"""Saliency and frequency maps: peaks, colours, and no more pictures than fit."""

import re

import numpy as np
import pytest
from PIL import Image
from synthetic import MANY, Page, faces, html_of, make_results, make_scores

from benchmarks.report import frequency_maps
from benchmarks.report.colour import diverging, overlay
from benchmarks.report.inputs import Evidence, Pictures, ReportInputs, Sight
from benchmarks.report.plot.figure import FileNames
from benchmarks.report.sections.saliency import FACES, saliency_content
from benchmarks.report.write import write_report


def spectrum(side=64, *, peaks=(), noise=0.2, seed=0):
    """Noise and peaks (across, down, height) at both of their places, symmetric as spectra of real images are."""
    noise_map = np.random.default_rng(seed).normal(0, noise, (side, side))
    for across, down, height in peaks:
        for sign in (1, -1):
            noise_map[round(sign * down * side + side / 2) % side, round(sign * across * side + side / 2) % side] += (
                height
            )
    return noise_map.astype(np.float32)


@pytest.mark.parametrize(("across", "down"), [(0.5, 0.0), (0.5, 0.5), (0.25, 0.0), (0.125, 0.25)])
def test_a_planted_peak_is_found_where_it_is(across, down):
    seen = frequency_maps.peak(spectrum(peaks=[(across, down, 5.0)]))
    assert seen is not None and (seen.across, seen.down) == (across, down)
    twice = 2 if (across, down) in ((0.5, 0.0), (0.5, 0.5)) else 1  # there both places are one
    assert seen.height == pytest.approx(5 * twice, abs=1)


def test_noise_ridges_and_plateaus_are_no_peaks():
    y, x = np.mgrid[-32:32, -32:32] / 64
    assert frequency_maps.peak(spectrum()) is None
    assert frequency_maps.peak(spectrum() + 4 * (np.hypot(x, y) > 0.3).astype(np.float32)) is None
    assert frequency_maps.peak(spectrum() + 4 * (x == 0).astype(np.float32)) is None
    assert frequency_maps.peak(spectrum(peaks=[(0.0, 1 / 64, 9.0)])) is None  # pose and light, not a trace
    assert frequency_maps.peak(np.zeros((16, 16), np.float32)) is None


def test_a_spectrum_in_words():
    words = frequency_maps.in_words(spectrum(peaks=[(0.5, 0.25, 6.0)]))
    assert "0.50 cycles per pixel across and 0.25 down" in words
    assert "repeats every 2 pixels across and every 4 pixels down" in words and "about the power" in words
    assert "has 3.0 dB less power" in frequency_maps.in_words(spectrum() - 3)
    assert frequency_maps.in_words(spectrum()).startswith("No single frequency stands out")


def test_a_smaller_map_keeps_its_peaks():
    small = frequency_maps.strongest(spectrum(128, peaks=[(0.25, 0.0, -7.0)]), 32)
    assert small.shape == (32, 32) and small.min() < -6 and np.abs(small).max() < 8
    assert np.array_equal(frequency_maps.strongest(spectrum(), 64), spectrum())


def test_scales_are_round_and_hold_the_values():
    assert [frequency_maps.round_up(v) for v in (0, 0.04, 1, 1.1, 2.5, 4, 7, 12)] == [1, 0.05, 1, 2, 3, 5, 10, 20]


def test_weights_in_words():
    fine = np.zeros((32, 32), np.float32)
    fine[-8:, -8:] = 1
    assert frequency_maps.balance(fine).startswith("A coefficient of the finest third weighs more than 100 times")
    assert frequency_maps.balance(np.ones((32, 32), np.float32)) == "Coarse and fine coefficients weigh about the same."
    assert (
        frequency_maps.balance(np.zeros((32, 32), np.float32)) == "Coarse and fine coefficients weigh about the same."
    )


def test_colours_of_differences_are_symmetric_and_darken_to_both_sides():
    values = np.linspace(-1, 1, 33, dtype=np.float32)[None]
    light = diverging(values * 5, 5)[0].astype(float) @ [0.299, 0.587, 0.114]
    assert (np.diff(light[:17]) > 0).all() and (np.diff(light[16:]) < 0).all()
    colours = diverging(np.array([[-9, 0, 9]], np.float32), 5)[0]
    assert colours[0][2] > colours[0][0] and colours[2][0] > colours[2][2]  # blue below, orange above
    assert np.ptp(colours[1]) <= 3 and np.array_equal(colours, diverging(np.array([[-5, 0, 5]], np.float32), 5)[0])


def test_an_overlay_is_grey_where_nothing_matters_and_orange_where_it_does():
    saliency = np.zeros((2, 64, 64), np.float32)
    saliency[0, 20:30, 40:50] = 0.5
    shown = overlay(faces(2), saliency).astype(int)
    assert np.ptp(shown[1], axis=-1).max() <= 1 and np.ptp(shown[0, 50:], axis=-1).max() <= 1
    red, green, blue = shown[0, 24:26, 44:46].mean((0, 1))
    assert red > 200 and red > green + 80 and green > blue


def sight(detector, trained_on, generators=("dcgan", "stylegan-lite"), **more):
    rng = np.random.default_rng(len(detector))
    return Sight(detector, trained_on, {name: rng.random((8, 64, 64), np.float32) for name in generators}, **more)


def evidence():
    weights = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    return Evidence(
        spectra={"dcgan": spectrum(peaks=[(0.5, 0.5, 4.0)]), "stylegan-lite": spectrum(seed=1)},
        sights=[
            sight("xception", "dcgan"), sight("xception", "stylegan-lite"),
            sight("dct", "dcgan", (), weights=weights), sight("dct", "stylegan-lite", (), weights=weights),
        ],
        method="input gradients",
    )  # fmt: skip


def test_detectors_look_at_the_forgeries_they_were_trained_on():
    shown = saliency_content(evidence(), {"dcgan": faces(9), "stylegan-lite": faces(9, 1)}, FileNames())
    assert [(g.generator, [title for title, _ in g.rows], g.count) for g in shown.saliency] == [
        ("dcgan", ["xception"], FACES), ("stylegan-lite", ["xception"], FACES),
    ]  # fmt: skip
    assert shown.without == ["dct"] and len(shown.weights) == 2 and not any(shown.left_out.values())
    assert all(m.limit.endswith(" dB") for m in shown.spectra)
    joint = Evidence(sights=[sight("npr", "dcgan+other", ("dcgan", "other"))])
    (gaze,) = saliency_content(joint, {"dcgan": faces(3), "stylegan-lite": faces(3)}, FileNames()).saliency
    assert gaze.count == 3 and gaze.rows[0][0] == "npr, trained on all"


def test_what_does_not_fit_is_said():
    many = Evidence(
        spectra={f"g{i}": spectrum(seed=i) for i in range(6)},
        sights=[sight(f"d{i}", "dcgan", weights=spectrum(16)) for i in range(15)],
    )
    shown = saliency_content(many, {"dcgan": faces(8)}, FileNames())
    assert len(shown.spectra) == 4 and shown.left_out["spectra"] == "The first 4 of 6 generators."
    assert len(shown.saliency[0].rows) == 12 and shown.saliency[0].left_out == "The first 12 of 15 detectors."
    assert len(shown.weights) == 6 and shown.left_out["weights"] == "The first 6 of 15 maps."


def test_a_run_without_explanations_has_no_section():
    assert saliency_content(Evidence(), {"dcgan": faces(2)}, FileNames()) is None


def test_the_page_shows_it_with_alternative_texts_and_files_beside_it(tmp_path):
    scores = make_scores(MANY, n=40)
    forged = {"dcgan": faces(64), "stylegan-lite": faces(64, 1)}
    write_report(
        tmp_path, ReportInputs(make_results(scores), scores, Pictures(forged, {}, lambda s, i: None, evidence()))
    )
    page = Page(html_of(tmp_path))
    alts = [attrs["alt"] for attrs in page.all("img")]
    assert sum(alt.startswith("Spectrum of") for alt in alts) == 2 and "a pattern that repeats every 2" in " ".join(
        alts
    )
    assert sum(alt.startswith("The same forgeries in grey") for alt in alts) == 2
    assert sum(alt.startswith("Weights of the DCT coefficients") for alt in alts) == 2
    assert "input gradients" in "".join(page.text) and "Without saliency maps: dct." in "".join(page.text)
    linked = re.findall(r"\]\(((?:saliency|spectrum)-[^)]+)\)", (tmp_path / "report.md").read_text(encoding="utf-8"))
    there = {file.name for kind in ("saliency", "spectrum") for file in tmp_path.glob(f"{kind}-*.png")}
    assert set(linked) == there and len(there) == 4
    assert Image.open(tmp_path / "saliency-dcgan.png").width > FACES * 64
    (tmp_path / "looking-dcgan.png").write_bytes(b"")  # as version 0.1 named it
    write_report(tmp_path, ReportInputs(make_results(scores), scores, Pictures(forged, {}, lambda s, i: None)))
    assert not list(tmp_path.glob("looking-*.png"))
    assert not list(tmp_path.glob("saliency-*.png")) and "Saliency and frequency maps" not in html_of(tmp_path)
