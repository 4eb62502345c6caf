"""A picture of the story as SVG: how many answers were right, which version answered, and when the loop decided what."""

from datetime import datetime
from html import escape

WIDTH, LEFT, RIGHT = 960, 70, 30
COLOURS = {1: "#4477aa", 2: "#228833", 3: "#cc6677"}
SHOWN = {"train", "promote", "keep", "roll_back", "refuse"}


def draw(answers: list[tuple[float, int, bool]], decisions: list[dict], begun: float) -> str:
    """`answers`: when, by which version, whether right. `decisions`: those of `store log --format json`."""
    seconds = int(max(at for at, _, _ in answers) - begun) + 1
    by_second: list[list[tuple[int, bool]]] = [[] for _ in range(seconds)]
    for at, version, right in answers:
        by_second[min(seconds - 1, max(0, int(at - begun)))].append((version, right))

    def x(second: float) -> float:
        return LEFT + second * (WIDTH - LEFT - RIGHT) / seconds

    def y(top: int, height: int, share: float) -> float:
        return top + height * (1 - share)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} 560" font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="560" fill="white"/>',
        '<text x="70" y="28" font-size="17">Digits that are turned, a version that learns them, and one that goes back</text>',
    ]
    for top, height, title in ((60, 220, "right answers"), (320, 160, "requests by version")):
        parts.append(f'<text x="{LEFT}" y="{top - 8}" fill="#555">{title}</text>')
        for share in (0, 0.5, 1):
            at = y(top, height, share)
            parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>')
            parts.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end" fill="#555">{share:.0%}</text>')
    points = []
    for second, found in enumerate(by_second):
        if not found:
            continue
        points.append(f"{x(second + 0.5):.1f},{y(60, 220, sum(right for _, right in found) / len(found)):.1f}")
        bottom = 0.0
        for version in sorted({version for version, _ in found}):
            share = sum(it == version for it, _ in found) / len(found)
            upper, lower = y(320, 160, bottom + share), y(320, 160, bottom)
            colour = COLOURS.get(version, "#999")
            size = f'width="{x(1) - x(0) + 0.3:.1f}" height="{lower - upper:.1f}"'
            parts.append(f'<rect x="{x(second):.1f}" y="{upper:.1f}" {size} fill="{colour}"/>')
            bottom += share
    parts.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="#222" stroke-width="2"/>')
    row = 0
    for decision in decisions:
        if decision["decision"] not in SHOWN:
            continue
        at = x(datetime.fromisoformat(decision["at"].replace("Z", "+00:00")).timestamp() - begun)
        parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="60" y2="480" stroke="#222" stroke-dasharray="3 3"/>')
        text = escape(decision["decision"].replace("_", " "))
        parts.append(f'<text x="{at + 4:.1f}" y="{240 + 16 * (row % 3)}">{text}</text>')
        row += 1
    for version, colour in COLOURS.items():
        at = LEFT + 130 * (version - 1)
        parts.append(f'<rect x="{at}" y="500" width="14" height="14" fill="{colour}"/><text x="{at + 20}" y="512">version {version}</text>')
    for second in range(0, seconds, 10):
        parts.append(f'<text x="{x(second):.1f}" y="545" text-anchor="middle" fill="#555">{second} s</text>')
    return "\n".join([*parts, "</svg>", ""])
