"""The dashboard in a real browser: what a person sees on each screen, and no error in the console."""

import os
import re
import time
from urllib.parse import parse_qsl, urlsplit

import pandas as pd
import pytest

import workbench as wb
from tests.browser import chromium, lasso, needs_browser, serving, stage, watched
from workbench.sets.planted import planted

SHOT = os.environ.get("WORKBENCH_SHOT")  # folder for the README's pictures, when asked for
pytestmark = needs_browser


def shot(page, name):
    if SHOT:
        page.wait_for_timeout(800)
        page.screenshot(path=f"{SHOT}/{name}.png")


@pytest.fixture(scope="module")
def server(demo_runs):
    with serving(next(iter(demo_runs.values())).path.parent) as (url, _):
        yield url


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as context:
        yield context


@pytest.fixture
def page(browser):
    with watched(browser.new_page()) as page:
        yield page


def report_of(run):
    return run.report("validation")


def asked_of(page):
    """What stands in the URL of a page, by name."""
    return dict(parse_qsl(urlsplit(page.url).query))


def test_landing_lists_the_runs_and_a_click_opens_one(page, server, demo_runs):
    page.goto(server)
    page.wait_for_selector(".tabulator-row")
    assert page.locator(".tabulator-row").count() == len(demo_runs)
    value = report_of(demo_runs["infonce"]).value("recall_at_1", "text", "color")
    # the list is there at once, from the logs; the report's numbers follow
    page.locator(".tabulator-row", has_text="infonce").filter(has_text=f"{value:.3f}").wait_for()
    assert "in the making" not in page.locator(".tabulator-row", has_text="infonce").inner_text()
    shot(page, "runs")
    page.locator("a", has_text="infonce").first.click()
    page.wait_for_selector("text=Pair card")
    assert "run=infonce" in page.url


def test_run_screen_shows_the_reports_numbers(page, server, demo_runs):
    page.goto(f"{server}/?run=infonce")
    stage(page)
    value = report_of(demo_runs["infonce"]).value("recall_at_1", "sketch", "color")
    row = page.locator("tr", has_text="recall_at_1").filter(has=page.get_by_text("sketch → color", exact=True)).first
    assert f"{value:.3f}" in row.inner_text()
    page.wait_for_selector("text=neighbours kept")
    assert page.locator(".chip", has_text="20 selected").count() == 1
    assert page.locator("h4", has_text="rank").count() == 3
    shot(page, "run")


def test_a_lasso_selects_what_lies_inside_it(page, server):
    page.goto(f"{server}/?run=infonce")
    map_ = stage(page)
    lasso(page, map_)
    count = int(page.locator(".chip").inner_text().split()[1].replace(",", ""))
    assert map_.evaluate("e => e.__map.picked()") == 3 * count, "three modalities of each selected item"
    assert page.get_by_text(f"1 of {count:,}, worst match first").count() == 1
    page.keyboard.press("Control+z")
    page.wait_for_selector(".chip:has-text('20 selected')")
    page.keyboard.press("Escape")
    page.wait_for_selector(".chip", state="hidden")
    page.wait_for_selector("text=Click a point on the map")


def test_a_click_fills_the_pair_card_and_a_judgement_is_kept(page, server, demo_runs):
    page.goto(f"{server}/?run=infonce")
    map_ = stage(page)
    page.get_by_text("judge", exact=True).wait_for()
    worst = page.locator("h4:text('Pair card') >> xpath=..").inner_text()
    box, at = map_.bounding_box(), map_.evaluate("e => e.__map.pixel(11)")
    page.mouse.move(box["x"] + at[0], box["y"] + at[1])
    page.locator(".tip b").wait_for(state="visible")
    name = page.locator(".tip b").inner_text()
    page.mouse.click(box["x"] + at[0], box["y"] + at[1])
    page.wait_for_selector(".chip:has-text('1 selected')")
    card = page.locator("h4:text('Pair card') >> xpath=..")
    card.get_by_text(name, exact=True).first.wait_for()
    assert card.inner_text() != worst
    assert card.locator("img").count() >= 12
    page.keyboard.press("Control+z")
    page.wait_for_selector(".chip:has-text('20 selected')")
    page.get_by_role("button", name="judge").click()
    page.wait_for_selector("text=1 judged in all")
    kept = pd.read_csv(demo_runs["infonce"].path / "judgements" / "pairs.csv")
    assert kept["verdict"].tolist() == ["wrong"]


def test_a_finding_sets_view_and_colour(page, server, demo_runs):
    """One of ranks selects and colours its worst items; one of the gap brings the gap's view, the selection stays."""
    findings = [f for f in report_of(demo_runs["gram"]).findings if f.evidence]
    unpaired = next(k for k, f in enumerate(findings) if f.evidence[0]["modalities"] == ["text", "sketch"])
    gap = next(k for k, f in enumerate(findings) if f.rule == "gap")
    assert (findings[unpaired].rule, len(findings[unpaired].evidence)) == ("no_pairing_signal", 2)
    page.goto(f"{server}/?run=gram&view=PCA&colour=modality")
    stage(page)
    page.get_by_role("button", name="show", exact=True).nth(unpaired).click()
    page.wait_for_selector("text=whose match ranks worst, text → sketch; coloured by that rank")
    ranked = asked_of(page)
    assert (ranked["view"], ranked["colour"]) == ("PCA", "rank text → sketch")
    assert len(set(ranked["ids"].split(","))) == 20
    page.get_by_role("button", name="show", exact=True).nth(gap).click()
    page.wait_for_selector("text=coloured by modality; the selection stays as it was")
    assert asked_of(page) == ranked | {"view": "gap axis", "colour": "modality"}
    for name, shown in (("view", "gap axis"), ("colour", "modality")):
        assert page.get_by_role("combobox", name=name).inner_text() == shown


def test_another_view_glides_there_and_the_url_remembers(page, server):
    page.goto(f"{server}/?run=gram")
    map_ = stage(page)
    before = map_.evaluate("e => e.__map.pixel(5)")
    page.get_by_role("combobox", name="view").click()
    page.get_by_role("menuitem", name="UMAP").click()
    page.wait_for_selector("text=/being computed/", timeout=10_000)
    page.wait_for_selector("text=/being computed/", state="hidden", timeout=60_000)
    page.wait_for_timeout(1500)
    assert map_.evaluate("e => e.__map.pixel(5)") != before
    assert "view=UMAP" in page.url
    url = page.url
    page.goto(server)
    page.goto(url)
    map_ = stage(page)
    assert page.get_by_role("combobox", name="view").inner_text() == "UMAP"


def test_what_if_moves_the_map_and_says_what_cannot_change(page, server):
    page.goto(f"{server}/?run=infonce&screen=what if")
    map_ = stage(page)
    page.wait_for_selector("text=it changes no rank")
    before = map_.evaluate("e => e.__map.pixel(5)")
    page.locator("input[type=range]").first.focus()
    for _ in range(8):
        page.keyboard.press("ArrowRight")
    page.wait_for_selector("text=it changes no rank", state="detached")
    page.wait_for_timeout(1500)
    assert map_.evaluate("e => e.__map.pixel(5)") != before
    assert page.locator("tr", has_text="mixed recall at 1").count() == 2
    shot(page, "whatif")


def test_what_if_lists_treatments_and_a_click_shows_one_on_the_map(page, server):
    page.goto(f"{server}/?run=infonce&screen=what if")
    map_ = stage(page)
    page.wait_for_selector("text=is what chance alone gives to")
    before = map_.evaluate("e => e.__map.pixel(5)")
    page.get_by_role("button", name="measure treatments").click()
    row = page.locator(".tabulator-row", has_text="whiten")
    row.wait_for(timeout=120_000)
    assert page.locator(".tabulator-row").count() >= 10
    row.locator("[tabulator-field=treatment]").click()
    page.wait_for_selector("text=make the covariance the identity")
    page.wait_for_timeout(1500)
    assert map_.evaluate("e => e.__map.pixel(5)") != before
    shot(page, "treatments")
    page.locator(".tabulator-row", has_text="csls").first.locator("[tabulator-field=treatment]").click()
    page.wait_for_selector("text=the map stays")


def test_checkpoints_scrub(page, server, demo_runs):
    page.goto(f"{server}/?run=infonce&screen=checkpoints")
    map_ = stage(page)
    steps = sorted(demo_runs["infonce"].snapshots)
    page.wait_for_selector(f"h4:text('step {steps[-1]:,}')")
    before = map_.evaluate("e => e.__map.pixel(5)")
    page.locator("input[type=range]").last.fill("0")
    page.wait_for_selector(f"h4:text-is('step {steps[0]:,}')")
    page.wait_for_timeout(1500)
    assert map_.evaluate("e => e.__map.pixel(5)") != before
    page.get_by_role("button", name="last step").click()
    page.get_by_role("button", name="play").focus()
    page.keyboard.press("Space")
    page.wait_for_selector(f"h4:text-is('step {steps[0]:,}')")
    page.wait_for_selector(f"h4:text-is('step {steps[-1]:,}')", timeout=20_000)
    shot(page, "checkpoints")


def test_clusters_show_the_items_in_the_wrong_one(page, server):
    page.goto(f"{server}/?run=infonce&screen=clusters")
    stage(page)
    said = page.locator("text=/items lie nearer/")
    said.wait_for()
    count = re.match(r"([\d,]+) of", said.inner_text()).group(1)
    page.get_by_role("button", name="show them on the map").click()
    page.wait_for_selector(f".chip:has-text('{count} selected')")
    page.get_by_role("button", name="AVQI of these roles").click()
    page.wait_for_selector("text=avqi_released")
    shot(page, "clusters")


def test_the_table_holds_the_selection_and_saves_it(page, server, demo_runs):
    page.goto(f"{server}/?run=infonce&screen=table")
    page.wait_for_selector(".tabulator-row")
    assert page.locator(".tabulator-row img").count() > 0
    page.get_by_label("save the selection as").fill("worst twenty")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="save").click()
    page.wait_for_selector("text=saved 20 items")
    assert (demo_runs["infonce"].path / "selections" / "worst twenty.json").exists()
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    assert len(pd.read_csv(download.value.path())) == 20


def test_two_ticked_runs_are_compared_with_one_selection(page, server, demo_runs):
    page.goto(server)
    page.wait_for_selector(".tabulator-row")
    for k in range(2):
        page.locator(".tabulator-row input[type=checkbox]").nth(k).click()
    page.get_by_role("button", name="compare the two ticked").click()
    page.wait_for_selector("text=How alike the spaces are", timeout=180_000)
    one, two = stage(page, 0), stage(page, 1)
    lasso(page, one)
    picked = one.evaluate("e => e.__map.picked()")
    assert picked == two.evaluate("e => e.__map.picked()") > 60
    assert page.locator("li", has_text="queries won").count() >= 1
    before = one.evaluate("e => e.__map.pixel(5)")
    page.get_by_role("button", name="A becomes B").click()
    page.get_by_role("button", name="back to A").wait_for()
    page.wait_for_timeout(1200)
    assert one.evaluate("e => e.__map.pixel(5)") != before
    page.get_by_role("button", name="back to A").click()
    page.wait_for_timeout(1200)
    assert one.evaluate("e => e.__map.pixel(5)") == pytest.approx(before, abs=0.5)
    shot(page, "compare")


@pytest.mark.parametrize("renderer", ["canvas2d", "png"])
def test_the_map_is_drawn_without_webgl(browser, server, renderer):
    """Where WebGL is missing a canvas draws the map, and where that is missing too, the server does."""
    with watched(browser.new_page()) as page:
        kinds = "['webgl2']" if renderer == "canvas2d" else "['webgl2', '2d']"
        page.add_init_script(
            "const get = HTMLCanvasElement.prototype.getContext;"
            "HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {"
            f"  if ({kinds}.includes(kind) && !(kind === '2d' && this.className !== 'base')) return null;"
            "  return get.call(this, kind, ...rest); };"
        )
        page.goto(f"{server}/?run=infonce")
        page.wait_for_selector(".stage")
        map_ = page.locator(".stage")
        drawn = "e => (e.__map && e.__map.figures() || {}).renderer || ''"
        end = time.monotonic() + 90
        while not (found := map_.evaluate(drawn)) and time.monotonic() < end:  # the page may put the map there anew
            page.wait_for_timeout(200)
        assert found == renderer
        if renderer == "canvas2d":
            coloured = map_.evaluate(
                "e => { const c = e.querySelector('canvas.base'), d = c.getContext('2d')"
                ".getImageData(0, 0, c.width, c.height).data; let n = 0;"
                " for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n; }"
            )
            assert coloured > 500
        else:
            assert map_.evaluate("e => e.querySelector('img.still').naturalWidth") > 300


def test_screens_change_and_the_map_comes_along(page, server):
    page.goto(f"{server}/?run=infonce")
    map_ = stage(page)
    lasso(page, map_)
    chip = page.locator(".chip").inner_text()
    still = map_.evaluate("e => e.__map.pixel(5)[0] / e.clientWidth")
    for screen in ("what if", "clusters", "table", "checkpoints", "run"):
        page.get_by_role("tab", name=screen).click()
        if screen == "table":
            page.wait_for_selector(".tabulator-row")
            continue
        stage(page)
        assert page.locator(".stage").count() == 1, "one map a page"
        assert page.locator(".chip").inner_text() == chip
    assert "screen=run" in page.url
    assert map_.evaluate("e => e.__map.pixel(5)[0] / e.clientWidth") == pytest.approx(still, abs=0.15)


def plots(page, each=""):
    """The widths that the figures of a page ask for, once what `each` does to their views is done."""
    return page.evaluate(
        "() => [...Bokeh.index.query((view) => view.resize_layout && view._throttled_resize)]"
        f".map((view) => {{ {each} return view.model.layout.width ?? null; }})"
    )


def test_a_plot_that_leaves_the_page_is_let_be(page, server):
    """As on a slow machine, where a screen is left while its plot is being laid out; `page` fails on any error."""
    page.goto(f"{server}/?run=infonce&screen=checkpoints")
    page.locator(".js-plotly-plot").first.wait_for()
    assert plots(page, "view.after_layout(); view.after_layout(); view.remove();") == [None]
    page.wait_for_timeout(300)
    assert page.locator(".js-plotly-plot").count() == 0


def test_a_plot_that_is_shown_again_is_as_wide_as_its_place(page, server):
    page.goto(f"{server}/?run=infonce&screen=checkpoints")
    page.locator(".js-plotly-plot").first.wait_for()
    page.wait_for_timeout(500)
    page.get_by_role("tab", name="table").click()
    page.wait_for_selector(".tabulator-row")
    page.get_by_role("tab", name="checkpoints").click()
    page.locator(".js-plotly-plot").first.wait_for()
    assert plots(page) == [None], "no width of before went into the figure"


@pytest.mark.slow
def test_every_screen_with_a_hundred_thousand_items(tmp_path, browser):
    es = planted(items=100_000, gap=0.5)
    moved = planted(items=100_000, gap=0.5, seed=1)
    kind = [f"class {k % 7}" for k in range(100_000)]
    for name, one in (("large", es), ("other", moved)):
        items = one.items.assign(kind=kind)
        wb.EmbeddingSet({m: one[m] for m in one.modalities}, items).save(tmp_path / "served" / name)
    with serving(tmp_path / "served") as (url, _), watched(browser.new_page()) as page:
        page.goto(url)
        page.wait_for_selector("a:has-text('large')")
        page.locator("a", has_text="large").first.click()
        map_ = stage(page)
        page.wait_for_selector("text=100,000 items · 200,000 points")
        report = wb.diagnose(wb.load(tmp_path / "served" / "large"), only=["modality_gap"])
        row = page.locator("tr", has_text="modality_gap").first.inner_text()
        assert f"{report.value('modality_gap', 'image', 'text'):.3f}" in row
        lasso(
            page, map_, 0.01, 0.4, 0.3, 0.6
        )  # one modality: the planted gap is a line to the left and one to the right
        count = int(page.locator(".chip").inner_text().split()[1].replace(",", ""))
        assert count > 100
        assert map_.evaluate("e => e.__map.picked()") == 2 * count
        for screen, seen in (
            ("what if", "text=preview: 2,000 pairs"),
            ("clusters", "text=/of 100,000 items lie nearer/"),
            ("table", ".tabulator-row"),
        ):
            page.goto(f"{url}/?run=large&screen={screen}")
            page.wait_for_selector(seen, timeout=60_000)
        page.goto(f"{url}/?compare=large,other")  # exact ranks of both sets: two minutes, aside
        page.wait_for_selector("text=/are compared exactly: .*, [0-9,]+ of [0-9,]+/")
        meanwhile = page.context.new_page()
        meanwhile.goto(f"{url}/?run=large&screen=table", timeout=20_000)
        meanwhile.wait_for_selector(".tabulator-row", timeout=20_000)
        meanwhile.close()
        page.wait_for_selector("text=How alike the spaces are", timeout=300_000)
        assert stage(page, 1).evaluate("e => e.__map.count()") == 200_000


def test_layers_of_a_language_model_are_a_heat_map():
    import torch

    from workbench.app.clusters_page import ClustersScreen
    from workbench.app.session import Session
    from workbench.explorer.inspection import Inspection

    draw = torch.Generator().manual_seed(0)
    role = [("safe", "unsafe", "jailbreak")[k % 3] for k in range(90)]
    middle = torch.randn(3, 1, 12, generator=draw)[[k % 3 for k in range(90)]]
    apart = torch.tensor([0.0, 1.0, 3.0])[None, :, None]
    x = torch.randn(90, 3, 12, generator=draw) + apart * middle
    es = wb.EmbeddingSet({"text": x}, pd.DataFrame({"id": [str(k) for k in range(90)], "role": role}))
    screen = ClustersScreen(Session(Inspection(es)))
    assert len(screen.wrong) < 10, "the last layer keeps the roles apart"
    for name, picker in screen.roles.items():
        picker.value = name
    screen._avqi(None)
    figure = screen.safety.objects[0].object
    assert list(figure.data[0].x) == ["0", "1", "2"]
    assert "cluster_separation" in list(figure.data[0].y)
    roles = {r: [r] for r in ("safe", "unsafe", "jailbreak")}
    frame = wb.layers(es, label="role", roles=roles, only=["cluster_separation"])
    shown = dict(zip(figure.data[0].y, figure.data[0].text, strict=True))["cluster_separation"]
    known = frame[frame["name"] == "cluster_separation"].sort_values("layer")["value"]
    assert list(shown) == [f"{v:.2f}" for v in known]
