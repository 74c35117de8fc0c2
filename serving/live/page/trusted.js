// The browser lets no script turn text into markup here. ECharts empties its element that way: nothing is all that is let through.
if (window.trustedTypes) trustedTypes.createPolicy("default", { createHTML: (text) => (text === "" ? "" : null) });
