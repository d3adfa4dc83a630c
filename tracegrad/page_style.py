"""The style sheet of the page that an Explanation becomes: colors by name, for light and for dark."""
from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fbfaf8; --card: #ffffff; --ink: #22201c; --dim: #6f6a61; --rule: #dfdad0; --edge: #8b857a; --off: #f4f1ec;
  --work: #eef3fb; --work-rule: #9db7dd; --ask: #fdf3df; --ask-rule: #d9a441; --end: #e8f5ea; --end-rule: #6cab78;
  --bad: #b3382c; --bad-paper: #fdeeec;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #191a1c; --card: #212326; --ink: #e6e3dc; --dim: #a39e94; --rule: #3a3c40; --edge: #86827a; --off: #2a2c2f;
    --work: #24303f; --work-rule: #5178a8; --ask: #3a3120; --ask-rule: #b08a3e; --end: #22352a; --end-rule: #5a9468;
    --bad: #f0897d; --bad-paper: #3a2523;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 24px; margin: 0 0 4px; }
h2 { font-size: 18px; margin: 0 0 8px; }
h3 { font-size: 15px; margin: 14px 0 6px; }
code, pre, table, svg text {
  font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: 12.5px;
}
h1 code { font-size: 22px; }
.dim { color: var(--dim); }
h1 .dim, h2 .dim { font-weight: normal; font-size: 15px; }
section {
  background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 18px 20px; margin-top: 20px;
}
section.bad { background: var(--bad-paper); }
.bad strong { color: var(--bad); }
details { border-top: 1px solid var(--rule); padding: 8px 0 4px; }
details > details { margin-left: 14px; }
summary { cursor: pointer; }
.drawing, pre, .wide { overflow-x: auto; }
.drawing { padding: 6px 0; }
.drawing svg { display: block; }
pre { margin: 6px 0; padding: 10px 12px; background: var(--off); border-radius: 6px; }
table { border-collapse: collapse; margin: 6px 0; }
td, th { text-align: left; padding: 2px 18px 2px 0; vertical-align: top; }
th { font-weight: normal; color: var(--dim); }
td.number { text-align: right; white-space: nowrap; }
tr.turn td:first-child { border-left: 3px solid var(--ask-rule); padding-left: 10px; }
td .bar { display: inline-block; height: 9px; background: var(--work-rule); border-radius: 2px; }
svg text { font-size: 12px; fill: var(--ink); }
svg g text { text-anchor: middle; }
svg text.dim, svg .times { fill: var(--dim); }
svg rect { fill: var(--work); stroke: var(--work-rule); }
svg .question rect { fill: var(--ask); stroke: var(--ask-rule); }
svg .end rect { fill: var(--end); stroke: var(--end-rule); }
svg .unseen rect { fill: none; stroke: var(--edge); stroke-dasharray: 4 4; }
svg .input rect { fill: var(--off); stroke: var(--edge); }
svg .output rect { stroke: var(--end-rule); stroke-width: 2.5; }
svg rect.frame { fill: none; stroke: var(--ask-rule); stroke-dasharray: 2 5; }
svg .edge { fill: none; stroke: var(--edge); }
svg path.unseen { stroke-dasharray: 4 4; }
"""
