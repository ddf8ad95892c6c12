//! Colours and fonts, which are the same in all pictures.

/// Series that have their own colours.
pub(in crate::plot) const COLOURS: usize = 10;

/// The style sheet. Colours of series are told apart by most people who see fewer of them, and stand out
/// from white as from black.
pub(super) const STYLE: &str = "<style>
text { font-family: ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, 'Liberation Mono', monospace; }
text { fill: #1f2328; white-space: pre; }
.title { font-size: 16px; }
.middle { text-anchor: middle; }
.end { text-anchor: end; }
.sheet { fill: #ffffff; }
.muted { fill: #59636e; }
.wrong { fill: #b3261e; }
.grid { stroke: #d8dee4; }
.axis { stroke: #59636e; }
.hole { fill: url(#probe-hole); }
.hatch { stroke: #afb8c1; }
.hit { fill: #000000; fill-opacity: 0; }
.hit:hover { fill-opacity: 0.07; }
.mark { fill: #b3261e; }
.other { fill: #9aa4af; }
.s0 { fill: #3b78b5; }
.s1 { fill: #e08214; }
.s2 { fill: #3f9b5f; }
.s3 { fill: #a6619f; }
.s4 { fill: #45b0b8; }
.s5 { fill: #d6544f; }
.s6 { fill: #c9a913; }
.s7 { fill: #7a6fc4; }
.s8 { fill: #e58fae; }
.s9 { fill: #8c6d55; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; }
.sheet { fill: #0d1117; }
.muted { fill: #9198a1; }
.wrong { fill: #ff8a80; }
.grid { stroke: #2a313c; }
.axis { stroke: #9198a1; }
.hatch { stroke: #4b5563; }
.hit { fill: #ffffff; }
.mark { fill: #ff8a80; }
}
</style>
<defs><pattern id=\"probe-hole\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\">\
<path class=\"hatch\" d=\"M0 6 6 0\"/></pattern></defs>
";
