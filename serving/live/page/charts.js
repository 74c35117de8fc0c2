// Bars over time. The words of a chart say what a reader who cannot see it has to know.

import { money } from "./text.js";

const charts = new Map();

function colour(name) {
  // A chart knows no light-dark(): the colour is asked of an element that has it.
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

export function drawBars(element, words, labels, values, lastIsUnfinished) {
  element.setAttribute("aria-label", words);
  let known = charts.get(element);
  if (!known) {
    known = { chart: echarts.init(element, null, { renderer: "canvas" }) };
    charts.set(element, known);
    new ResizeObserver(() => known.chart.resize()).observe(element);
  }
  known.drawn = { labels, values, lastIsUnfinished };
  show(known);
}

export function redraw() {
  for (const known of charts.values()) if (known.drawn) show(known);
}

function show({ chart, drawn: { labels, values, lastIsUnfinished } }) {
  const [accent, soft, quiet, line, panel, ink] = ["--accent", "--accent-soft", "--quiet", "--line", "--panel", "--ink"].map(colour);
  const size = parseFloat(getComputedStyle(document.documentElement).fontSize) * 0.75;
  const text = { color: quiet, fontSize: size, fontFamily: getComputedStyle(document.body).fontFamily };
  chart.setOption({
    animation: false,
    grid: { left: 4, right: 4, top: size, bottom: 2, outerBoundsMode: "same", outerBoundsContain: "axisLabel" },
    tooltip: {
      trigger: "axis", renderMode: "richText", axisPointer: { type: "none" }, confine: true,
      backgroundColor: panel, borderColor: line, textStyle: { ...text, color: ink },
      formatter: ([each]) => `${each.name}  ${money(each.value)}`,
    },
    xAxis: { type: "category", data: labels, axisTick: { show: false }, axisLine: { lineStyle: { color: line } }, axisLabel: { ...text, interval: (at, label) => (labels.length > 30 ? /0$/.test(label) : at % 4 === 0) } },
    yAxis: { type: "value", max: ({ max }) => (max > 0 ? null : 10), splitNumber: 3, splitLine: { lineStyle: { color: line } }, axisLabel: { ...text, formatter: (usd) => `$${usd.toLocaleString("en-US")}` } },
    series: [{
      type: "bar", barCategoryGap: "25%", itemStyle: { color: accent, borderRadius: [2, 2, 0, 0] },
      data: values.map((value, at) => (lastIsUnfinished && at === values.length - 1 ? { value, itemStyle: { color: soft, borderColor: accent, borderWidth: 1 } } : value)),
    }],
  });
}
