#!/usr/bin/env python3
"""Opens reports in a browser and holds what they plot against the recording that they are of.

    python3 tests/report_page.py [--binary PATH] [--browser PATH]

Two recordings, of a canary that is drained and of one that could be promoted, are replayed to HTML and opened in headless Chromium
at the width of a desktop and of a phone, light and dark. Every plotted point is read back from its line and compared. The page
must not be wider than the window, ask for nothing from a network, and tell the numbers of the minute that is pointed at. Pictures go to
the target directory, for a person to look at. Needs Chromium; Playwright is installed under the target directory.
"""

import argparse
import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
PLAYWRIGHT = "playwright==1.56.0"
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
MINUTES = 90
FAULT_AT = 40
# A line is written with two decimals of the plot's 200 points of height.
NEAR = 0.006 / 200


def environment():
    python = TARGET / "browser-venv" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", TARGET / "browser-venv"], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PLAYWRIGHT], check=True)
    return python


def recording(path, bad):
    """Counts of every minute, which are what must be plotted."""
    rows, lines = [], [json.dumps({"recording": 1, "source": "a test", "stable": "v1", "canary": "v2"})]
    for at in range(MINUTES):
        share = 0 if at < 10 else 10 if at < 60 else 25
        canary = 3000 * share // 100
        arms = {}
        for arm, requests in (("stable", 3000 - canary), ("canary", canary)):
            failed = round(requests * (0.05 if bad and arm == "canary" and at >= FAULT_AT else 0.003))
            arms[arm] = {"requests": requests, "http_2xx": requests - failed, "http_5xx": failed}
        row = {"minute": f"2026-03-01T{10 + at // 60:02}:{at % 60:02}:00Z", "share": share, "stable": arms["stable"], "canary": arms["canary"] if canary else None}
        rows.append(row)
        lines.append(json.dumps({key: value for key, value in row.items() if value is not None}))
    path.write_text("\n".join(lines) + "\n")
    return rows


def expected(rows):
    """Title of a figure and name of a line, and its values."""
    def rate(arm):
        return [None if not row[arm] or not row[arm]["requests"] else 100 * row[arm]["http_5xx"] / row[arm]["requests"] for row in rows]

    def requests(arm):
        return [row[arm]["requests"] if row[arm] else None for row in rows]

    return {
        ("Share of the canary", "share"): [row["share"] for row in rows],
        ("Requests a minute", "stable"): requests("stable"),
        ("Requests a minute", "canary"): requests("canary"),
        ("errors: bad of all requests", "stable"): rate("stable"),
        ("errors: bad of all requests", "canary"): rate("canary"),
    }


def plotted(page):
    """The points of every line, in its own units."""
    figures = page.eval_on_selector_all(
        "figure",
        """figures => figures.map(figure => ({
          title: figure.querySelector('figcaption strong').textContent,
          bottom: Number(figure.dataset.bottom), top: Number(figure.dataset.top),
          lines: [...figure.querySelectorAll('path.line')].map(line => [line.dataset.line, line.getAttribute('d')]),
        }))""",
    )
    found = {}
    for figure in figures:
        for name, path in figure["lines"]:
            values = [None] * MINUTES
            for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path):
                minute = round(float(x) / 1000 * (MINUTES - 1))
                values[minute] = figure["bottom"] + (1 - float(y) / 200) * (figure["top"] - figure["bottom"])
            found[figure["title"], name] = (values, figure["top"] - figure["bottom"])
    return found


def check(page, rows, name):
    problems = []
    found = plotted(page)
    for (title, line), values in expected(rows).items():
        if (title, line) not in found:
            problems.append(f"{name}: {title} has no line {line}; there are {sorted(found)}")
            continue
        points, height = found[title, line]
        for minute, (want, got) in enumerate(zip(values, points)):
            if (want is None) != (got is None) or (want is not None and not math.isclose(want, got, abs_tol=NEAR * height)):
                problems.append(f"{name}: {title}, {line}, minute {minute}: {got} is plotted, and the recording has {want}")
                break
    return problems


def look(html, rows, browser_path, name, verdict):
    from playwright.sync_api import sync_playwright

    problems = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            for size, (width, height) in SIZES.items():
                where = f"{name}, {size}, {scheme}"
                context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
                page = context.new_page()
                asked, errors = [], []
                page.on("request", lambda request: asked.append(request.url))
                page.on("pageerror", lambda error: errors.append(str(error)))
                page.goto(html.as_uri())
                problems += check(page, rows, where)
                if wide := [url for url in asked if not url.startswith("file:")]:
                    problems.append(f"{where}: asks for {wide}")
                scroll = page.evaluate("document.documentElement.scrollWidth")
                if scroll > width:
                    problems.append(f"{where}: is {scroll} wide")
                if verdict not in page.text_content("header"):
                    problems.append(f"{where}: the header does not say {verdict}")
                page.hover("figure svg", position={"x": 20, "y": 20})
                told = page.text_content("#told") or ""
                now = page.text_content("figure b[data-now]")
                if "2026-03-01 10:" not in told or not now:
                    problems.append(f"{where}: pointing at a minute tells {told!r} and {now!r}")
                if errors:
                    problems.append(f"{where}: {errors}")
                page.screenshot(path=TARGET / "reports" / f"{name}-{size}-{scheme}.png", full_page=True)
                context.close()
        browser.close()
    return problems


def browser_at(given):
    found = given or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not found:
        sys.exit("Chromium is needed: give --browser PATH")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=TARGET / "debug" / "canary-gate")
    parser.add_argument("--browser")
    args = parser.parse_args()
    python = environment()
    if Path(sys.prefix).resolve() != (TARGET / "browser-venv").resolve():
        os.execv(python, [str(python), __file__, "--binary", str(args.binary), "--browser", browser_at(args.browser)])
    folder = TARGET / "reports"
    folder.mkdir(parents=True, exist_ok=True)
    plan = folder / "plan.yaml"
    plan.write_text("bake: 10m\nchecks: {errors: {}}\n")
    problems = []
    for name, bad, verdict in (("drained", True, "drained"), ("promotable", False, "promotable")):
        rows = recording(folder / f"{name}.jsonl", bad)
        done = subprocess.run([args.binary, "replay", "--plan", plan, "--recording", folder / f"{name}.jsonl", "--format", "html"], capture_output=True, text=True)
        if done.returncode not in (0, 1):
            sys.exit(f"replay failed: {done.stderr}")
        html = folder / f"{name}.html"
        html.write_text(done.stdout)
        problems += look(html, rows, args.browser, name, verdict)
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print(f"reports: what is plotted is what was recorded; pictures are in {folder}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
