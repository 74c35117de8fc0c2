// The browser lets no script turn text into markup or load another script here. ECharts empties its element that way: nothing is
// all that is let through; and of scripts the one for all tabs.
if (window.trustedTypes) {
  trustedTypes.createPolicy("default", {
    createHTML: (text) => (text === "" ? "" : null),
    createScriptURL: (url) => (url === "/static/shared_stream.js" ? url : null),
  });
}
