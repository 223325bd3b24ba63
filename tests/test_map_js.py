"""The map's modules: how they become one, and what they compute, in a real browser against the same in numpy."""

import base64
import re

import numpy as np
import pytest
from scipy import ndimage

import workbench as wb
from tests.browser import needs_browser, opened
from workbench.explorer.bundle import MODULES, bundle
from workbench.explorer.static_map import still
from workbench.workspace.assets import HERE as PAGE

FILES = sorted([*MODULES.glob("*.js"), *PAGE.glob("*.js")])


def url(text):
    return "data:text/javascript;base64," + base64.b64encode(text.encode()).decode()


def written(folder, **texts):
    for name, text in texts.items():
        (folder / f"{name}.js").write_text(text)
    return folder / "main.js"


# -- the bundle -----------------------------------------------------------------------------------------------------


def test_each_module_comes_once_after_what_it_needs(tmp_path):
    entry = written(
        tmp_path,
        a="export const A = 1;\n",
        b='import { A } from "./a.js";\n\n/** Two. */\nexport function two() {\n  return 2 * A;\n}\n',
        main='import {\n  A,\n} from "./a.js";\nimport { two } from "./b.js";\n\nexport default { A, two };\n',
    )
    text = bundle(entry)
    assert text.index("const A = 1") < text.index("function two") < text.index("export default { A, two };")
    assert text.count("const A") == 1
    assert "import" not in text
    assert text.count("export") == 1


def test_modules_in_a_circle_are_refused(tmp_path):
    entry = written(
        tmp_path,
        main='import { a } from "./a.js";\n',
        a='import { b } from "./b.js";\nexport const a = 1;\n',
        b='import { a } from "./a.js";\nexport const b = 1;\n',
    )
    with pytest.raises(ValueError, match=r"circle: main\.js → a\.js → b\.js → a\.js"):
        bundle(entry)


@pytest.mark.parametrize("second", ["const same = 2;\n", "function same() {}\n", "export class same {}\n"])
def test_two_things_of_one_name_are_refused(tmp_path, second):
    entry = written(tmp_path, a="export const same = 1;\nexport const b = 1;\n", main='import { b } from "./a.js";\n')
    entry.write_text(entry.read_text() + second)
    with pytest.raises(ValueError, match=r"main\.js and a\.js both define same"):
        bundle(entry)


def test_a_name_that_is_not_exported_cannot_be_imported(tmp_path):
    entry = written(tmp_path, a="const own = 1;\nexport const b = 1;\n", main='import { b, own } from "./a.js";\n')
    with pytest.raises(ValueError, match=r"imports own, which a\.js does not export"):
        bundle(entry)


@pytest.mark.parametrize(
    "line", ['import * as a from "./a.js";', 'export { x } from "./a.js";', "import a from './a.js';"]
)
def test_other_forms_are_refused(tmp_path, line):
    with pytest.raises(ValueError, match="not understood"):
        bundle(written(tmp_path, main=f"{line}\n"))


def test_only_the_last_module_has_a_default(tmp_path):
    entry = written(tmp_path, a="export const a = 1;\nexport default a;\n", main='import { a } from "./a.js";\n')
    with pytest.raises(ValueError, match="not understood"):
        bundle(entry)


def test_the_map_is_made_of_all_its_modules():
    text = bundle()
    assert bundle() is text, "made once"
    for file in MODULES.glob("*.js"):
        first = file.read_text().splitlines()[0]
        assert text.count(first) == 1, file.name


def test_a_notebook_and_a_page_load_the_same_module():
    from workbench.app.face import Face
    from workbench.explorer.inspection import inspection
    from workbench.explorer.map_state import MapState
    from workbench.explorer.widgets import MapWidget
    from workbench.workspace.assets import module
    from workbench.workspace.widget import Explorer

    assert MapWidget._esm == bundle()
    assert Explorer._esm == Face._esm == module()
    assert url(bundle()) in still(MapState(inspection(wb.testing.planted(items=60))))


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_a_module_says_what_it_is_and_each_function_what_it_does(file):
    lines = file.read_text().splitlines()
    assert lines[0].startswith("// ")
    assert max(map(len, lines)) <= 100
    for k, line in enumerate(lines):
        named = re.match(r"(export )?(async )?function|(export )?class |  (?!if|for|while|switch)\w+\(.*\) \{$", line)
        if named and "=" not in line:
            assert lines[k - 1].strip().startswith("/**"), f"{file.name}:{k + 1} {line}"


# -- what it computes -----------------------------------------------------------------------------------------------

GRID = 96
RNG = np.random.default_rng(0)
POINTS = np.concatenate([RNG.normal(0, 1, (3000, 2)), RNG.normal((4, -2), 0.5, (1000, 2))]).astype(np.float32)
BOX = [float(x) for x in (*POINTS.min(0), *POINTS.max(0))]


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """Evaluate an expression of `g`, the geometry, `c`, the colours, and `x`, what is handed over."""
    with opened(tmp_path_factory.mktemp("profile")) as page:
        page.goto("about:blank")
        sources = {name: url((MODULES / f"{name}.js").read_text()) for name in ("geometry", "colours")}

        def asked(expression, **x):
            x = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in x.items()}
            program = (
                "async ([u, x]) => { const g = await import(u.geometry), c = await import(u.colours);"
                "const f32 = (a) => Float32Array.from(a.flat()), u8 = (a) => Uint8Array.from(a), list = Array.from;"
                f"return {expression}; }}"
            )
            return page.evaluate(program, [sources, x])

        asked.page = page
        yield asked


def browser(test):
    """A test that needs a browser."""
    for mark in needs_browser:
        test = mark(test)
    return test


def blurred(points):
    """The density of points on the grid, without its grain."""
    counts = np.zeros((GRID, GRID))
    scale = (GRID - 1) / (np.array(BOX[2:]) - BOX[:2])
    x, y = np.floor((points - np.array(BOX[:2])) * scale + 0.5).astype(int).T
    np.add.at(counts, (y, x), 1)
    field = counts
    for _ in range(2):
        for axis in (1, 0):
            field = ndimage.uniform_filter1d(field, 5, axis=axis, mode="constant")
    return counts, field


@browser
def test_the_bundle_is_one_module_that_renders(ask):
    found = ask.page.evaluate("async (u) => Object.keys((await import(u)).default)", url(bundle()))
    assert found == ["render"]


@browser
def test_a_place_and_its_pixels(ask):
    fit, view = {"x": 0.5, "y": -1, "s": 80, "r": 1.5}, {"x": 0.25, "y": 0.125, "z": 3}
    got = ask(
        "(() => { const k = g.cameraOf(x.fit, x.view, 900, 500);"
        "const px = x.at.map((p) => g.project(k, ...p));"
        "return [px, px.map((p) => g.unproject(k, ...p)), g.clipScale(k)]; })()",
        fit=fit,
        view=view,
        at=POINTS[:200].astype(float),
    )
    scale = np.array([240, -360])
    pixels = [450, 250] + (POINTS[:200] - np.array([0.75, -0.875])) * scale
    np.testing.assert_allclose(got[0], pixels, rtol=1e-9)
    np.testing.assert_allclose(got[1], POINTS[:200], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(got[2], [240 * 2 / 900, 360 * 2 / 500])


@browser
@pytest.mark.parametrize("free", [False, True])
def test_all_points_are_fitted_into_the_stage(ask, free):
    pixels = np.array(
        ask(
            "(() => { const k = g.cameraOf(g.fitOf(g.boundsOf(f32(x.at)), 900, 500, 100, x.free), {x: 0, y: 0, z: 1},"
            "900, 500); return x.at.map((p) => g.project(k, ...p)); })()",
            at=POINTS.astype(float),
            free=free,
        )
    )
    low, high = pixels.min(0), pixels.max(0)
    assert (low > 0).all()
    assert high[0] <= 800 + 1e-6, "room is left for the legend"
    assert high[1] < 500
    span = (high - low) / ([0.92 * 800, 0.92 * 460])
    assert span.max() == pytest.approx(1)
    assert not free or span.min() == pytest.approx(1)


@browser
def test_the_box_around_points(ask):
    assert ask("g.boundsOf(f32(x.at))", at=POINTS.astype(float)) == BOX
    assert ask("g.boundsOf(f32([]))") == [-1, -1, 1, 1]
    assert ask("g.boundsOf(f32([NaN, NaN]))") == [-1, -1, 1, 1]


@browser
def test_a_glide_that_is_turned_goes_on_from_where_it_is(ask):
    a, b = POINTS[:50].astype(float), POINTS[50:100].astype(float)
    spots, settled = ask(
        "(() => { const a = f32(x.a), b = f32(x.b), s = x.a.map((_, i) => g.spotBetween(a, b, 0.3, i));"
        "g.settleBetween(a, b, 0.3); return [s, list(a)]; })()",
        a=a,
        b=b,
    )
    np.testing.assert_allclose(spots, 0.7 * a + 0.3 * b, rtol=1e-9)
    np.testing.assert_allclose(np.reshape(settled, (-1, 2)), 0.7 * a + 0.3 * b, rtol=1e-5, atol=1e-6)


@browser
@pytest.mark.parametrize("n", [1, 8, 61])
def test_a_mask_of_bits(ask, n):
    states = RNG.integers(0, 2, n)
    mask = np.packbits(states.astype(np.uint8), bitorder="little")
    assert ask("list(g.unpackBits(u8(x.mask), x.n))", mask=mask, n=n) == states.tolist()
    assert ask("list(g.indicesOf(u8(x.states)))", states=states) == np.flatnonzero(states).tolist()
    assert ask("list(g.unpackBits(u8([]), x.n))", n=n) == [0] * n


@browser
def test_density_and_the_region_that_holds_half_of_it(ask):
    counts, field = blurred(POINTS.astype(float))
    got = ask(
        "(() => { const d = g.densityOf(f32(x.at), x.keep, x.box), f = g.blurred(d);"
        "return [list(d), list(f), g.levelOf(f, 0.5), g.levelOf(f, 0.9)]; })()",
        at=POINTS.astype(float),
        keep=list(range(len(POINTS))),
        box=BOX,
    )
    np.testing.assert_array_equal(np.reshape(got[0], (GRID, GRID)), counts)
    np.testing.assert_allclose(np.reshape(got[1], (GRID, GRID)), field, atol=1e-4)
    falling = np.sort(field.ravel())[::-1]
    for level, share in zip(got[2:], (0.5, 0.9), strict=True):
        want = falling[np.searchsorted(falling.cumsum(), share * falling.sum())]
        assert level == pytest.approx(want, rel=1e-3)


@browser
def test_the_density_on_a_contour_is_its_level(ask):
    _, field = blurred(POINTS.astype(float))
    rings = ask(
        "g.contoursOf(f32(x.at), x.keep, x.box)", at=POINTS.astype(float), keep=list(range(len(POINTS))), box=BOX
    )
    assert len(rings) == 2
    scale = (GRID - 1) / (np.array(BOX[2:]) - BOX[:2])
    levels = []
    for lines in rings:
        at = (np.reshape(lines, (-1, 2)) - BOX[:2]) * scale
        heights = ndimage.map_coordinates(field, at.T[::-1], order=1)
        np.testing.assert_allclose(heights, heights.mean(), rtol=1e-3)
        levels.append(heights.mean())
        ends, times = np.unique(np.round(at, 4), axis=0, return_counts=True)
        assert (times % 2 == 0).mean() > 0.99, "pieces meet: the line is closed"
    assert levels[0] > levels[1]


@browser
def test_the_nearest_visible_point(ask):
    asked = np.concatenate([POINTS[:100] + RNG.normal(0, 0.02, (100, 2)), RNG.uniform(-6, 8, (100, 2))])
    shown = RNG.integers(0, 2, len(POINTS))
    got = ask(
        "(() => { const n = new g.GridIndex(f32(x.at), x.box);"
        "return x.asked.map((p) => n.find(...p, 0.1, 0.05, (i) => x.shown[i])); })()",
        at=POINTS.astype(float),
        box=BOX,
        asked=asked,
        shown=shown,
    )
    d = (((POINTS.astype(float)[None] - asked[:, None]) / [0.1, 0.05]) ** 2).sum(-1)
    d[:, shown == 0] = np.inf
    want = np.where(d.min(1) < 1, d.argmin(1), -1)
    assert got == want.tolist()
    assert 0 < (want < 0).sum() < len(want)


@browser
def test_small_rules(ask):
    assert ask("[g.zoomed(1, 1e9), g.zoomed(1, 1e-9), g.zoomed(2, 1.5)]") == [200, 0.3, 3]
    assert ask("[0, 0.5, 1].map(g.smooth)") == [0, 0.5, 1]
    assert ask("[0, 0.5, 1].map(g.slowing)") == [0, 0.875, 1]
    assert ask("[1000, 1e6].map((n) => g.dotSize(n, 2))") == [18, 4]
    assert ask("g.viewBetween({x: 0, y: 2, z: 1}, {x: 4, y: 2, z: 3}, 0.5)") == {"x": 2, "y": 2, "z": 2}
    assert ask("g.lassoTo([[0, 0], [1, 1]], [0, 0], [2, 3], false)") == [[0, 0], [1, 1], [2, 3]]
    assert ask("g.lassoTo([[0, 0]], [0, 0], [2, 3], true)") == [[0, 0], [2, 0], [2, 3], [0, 3]]
    assert ask("[0, 127, 255].map((b) => c.rampPlace(b, 4))") == [0, 1, 3]
    assert ask("[c.hiddenCodes(null, 3), c.hiddenCodes(new Set([1]), 3)]") == [[], [0, 2]]
    assert ask("[c.isOff(5, 0), c.isOff(5, 1), c.isOff(5, 2)]") == [True, False, True]


@browser
def test_the_palette(ask):
    program = (
        "(() => { const p = new Uint8Array(4 * c.CODES);"
        "c.fillPalette(p, x.legend, new Map(x.promoted), x.solo && new Set(x.solo), 140);"
        "return [list(p.slice(0, 12)), list(p.slice(-4))]; })()"
    )
    legend = {"kind": "category", "entries": [{"color": "#010203"}, {}, {}], "rest": "#808182"}
    grey, last = [0x80, 0x81, 0x82], [0x80, 0x81, 0x82, 70]
    assert ask(program, legend=legend, promoted=[[1, "#0a0b0c"]], solo=None) == [
        [1, 2, 3, 140, 10, 11, 12, 140, *grey, 140],
        last,
    ]
    assert ask(program, legend=legend, promoted=[], solo=[2]) == [
        [1, 2, 3, 0, *grey, 0, *grey, 140],
        [*grey, 0],
    ]
    ramp = {"kind": "value", "colors": ["#000000", "#0000ff"], "rest": "#808182"}
    assert ask(program, legend=ramp, promoted=[], solo=None) == [[0, 0, 0, 140, 0, 0, 255, 140, 0, 0, 0, 0], last]
