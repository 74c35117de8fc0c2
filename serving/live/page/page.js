// Shows what the server tells. Panels come whole and replace what was there; text is only ever set as text.

import { drawBars, redraw } from "./charts.js";
import { Product } from "./product.js";
import { listen } from "./stream.js";
import { ago, byId, cell, count, dayAndTime, hourAndMinute, money, row, setText, withUnit } from "./text.js";

const SPAN_WORDS = { quarter: "the last 15 minutes", hour: "the last hour", day: "the last day" };
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

const panels = {};
const connection = { lostAt: null, clockAheadMs: 0, build: null };
const product = new Product(nowMs);

function nowMs() {
  const clock = panels.clock;
  return clock && !clock.is_live ? Date.parse(clock.now_at) : Date.now() + connection.clockAheadMs;
}

// What a panel's figures are drawn by; each is called when its panel, or the time, is new.
const draw = {
  clock: drawState,
  store: drawState,
  health: drawState,
  freshness: drawState,
  sales() {
    const { sums } = panels.sales;
    setText("today-revenue", sums.today ? money(sums.today.revenue_usd) : "–");
    setText("today-units", sums.today ? count(sums.today.units) : "–");
    setText("today-refunds", sums.today ? money(sums.today.refunds_usd) : "–");
    setText("quarter-revenue", sums.quarter ? money(sums.quarter.revenue_usd) : "–");
    setText("hour-revenue", sums.hour ? money(sums.hour.revenue_usd) : "–");
    drawMinutes();
  },
  top() {
    const span = document.querySelector("input[name=span]:checked").value;
    const sold = panels.top[span] ?? [];
    const most = sold.length ? Number(sold[0].revenue_usd) : 1;
    const focused = document.activeElement?.dataset?.product;
    byId("top-rows").replaceChildren(
      ...sold.map((each) => {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = each.product_id;
        button.dataset.product = each.product_id;
        button.setAttribute("aria-haspopup", "dialog");
        const revenue = cell(money(each.revenue_usd), "n");
        revenue.style.setProperty("--share", `${(100 * Number(each.revenue_usd)) / most}%`);
        return row(cell(button), cell(each.brand ?? "–"), cell(count(each.units), "n"), revenue);
      }),
    );
    if (focused) document.querySelector(`button[data-product="${CSS.escape(focused)}"]`)?.focus();
    byId("top-none").hidden = sold.length > 0;
    setText("top-none", `No sale in ${SPAN_WORDS[span]}.`);
  },
  carts() {
    const { open, recovered_today: recovered, newest } = panels.carts;
    setText("carts-value", money(open.value_usd));
    setText("carts-count", withUnit(open.carts, "cart", "carts"));
    setText("carts-recovered", `${withUnit(recovered.carts, "cart", "carts")}, ${money(recovered.value_usd)}`);
    const known = new Set([...byId("carts-rows").children].map((each) => each.dataset.key));
    byId("carts-rows").replaceChildren(
      ...newest.map((cart) => {
        const who = cart.orders ? `${cart.user_id}, ${withUnit(cart.orders, "order", "orders")} before` : `${cart.user_id}, no order yet`;
        const found = row(cell(ago(nowMs() - Date.parse(cart.abandoned_at))), cell(who), cell(count(cart.items), "n"), cell(money(cart.cart_value), "n"));
        found.dataset.key = `${cart.session_key} ${cart.abandoned_at}`;
        if (known.size && !known.has(found.dataset.key)) found.className = "is-new";
        return found;
      }),
    );
    byId("carts-none").hidden = newest.length > 0;
  },
  funnel() {
    const day = panels.funnel;
    byId("funnel-none").hidden = Boolean(day);
    setText("funnel-day", day ? `sessions of ${day.day_on}` : "");
    const steps = day ? [["Sessions", day.sessions], ["looked at a product", day.viewed], ["put one into the cart", day.carted], ["bought", day.bought]] : [];
    byId("funnel-steps").replaceChildren(...steps.map(([words, sessions]) => bar(words, count(sessions), percent(sessions, day.sessions), sessions / day.sessions)));
  },
  customers() {
    const { steps_usd: steps, by_value: byValue, by_segment: bySegment } = panels.customers;
    const found = new Map(byValue.map((each) => [each.step, each]));
    const most = Math.max(1, ...byValue.map((each) => each.customers));
    const all = byValue.reduce((sum, each) => sum + each.customers, 0);
    byId("customers-none").hidden = all > 0;
    const words = [`under $${steps[0]}`, ...steps.slice(0, -1).map((from, at) => `$${from} to $${steps[at + 1]}`), `$${steps.at(-1)} and more`];
    byId("value-steps").replaceChildren(
      ...(all ? words : []).map((text, step) => {
        const customers = found.get(step)?.customers ?? 0;
        return bar(text, count(customers), found.has(step) ? money(found.get(step).revenue_usd) : "", customers / most);
      }),
    );
    setText("segments", bySegment.map((each) => `${each.segment} ${count(each.customers)}`).join(" · "));
  },
};

function bar(words, value, aside, share) {
  const item = document.createElement("li");
  const label = document.createElement("span");
  label.textContent = words;
  const figure = document.createElement("span");
  const bold = document.createElement("b");
  bold.textContent = value;
  const quiet = document.createElement("i");
  quiet.textContent = aside;
  figure.append(bold, quiet);
  item.append(label, figure);
  item.style.setProperty("--share", `${100 * (share || 0)}%`);
  return item;
}

function percent(part, whole) {
  return whole ? `${((100 * part) / whole).toFixed(1)} %` : "";
}

function drawMinutes() {
  const { windows, window_s: windowS } = panels.sales;
  const stepMs = windowS * 1000;
  const last = Math.floor(nowMs() / stepMs) * stepMs;
  const revenue = new Map(windows.map(([at, , usd]) => [Date.parse(at), Number(usd)]));
  const starts = [];
  for (let at = last - HOUR_MS + Math.min(stepMs, HOUR_MS); at <= last; at += stepMs) starts.push(at);
  const values = starts.map((at) => revenue.get(at) ?? 0);
  const sold = values.some((each) => each > 0);
  const words = sold
    ? `Revenue per ${windowS === 60 ? "minute" : `${windowS} seconds`}: now ${money(values.at(-1))}, at most ${money(Math.max(...values))} in the last hour`
    : "No sale in the last hour";
  drawBars(byId("minutes-chart"), words, starts.map((at) => hourAndMinute(at)), values, true);
  if (byId("minutes-details").open) {
    byId("minutes-rows").replaceChildren(
      ...windows.toReversed().map(([at, units, usd]) => row(cell(hourAndMinute(Date.parse(at))), cell(count(units), "n"), cell(money(usd), "n"))),
    );
  }
}

// Which of its states the page is in, and what a reader has to know of that.
function drawState() {
  const { clock, store, health, freshness } = panels;
  const isStarting = !store;
  const state = isStarting ? "starting" : !clock ? "empty" : clock.is_live ? "live" : "replay";
  document.body.dataset.state = state;
  setText("mode", { starting: "Starting", empty: "No event yet", live: "Live", replay: "Replay" }[state]);
  setText("clock", clock ? (clock.is_live ? hourAndMinute(nowMs()) : dayAndTime(nowMs())) : "");
  byId("mode").title = state === "replay" ? "Files of another time are read: now is the time of their newest event." : "";
  if (freshness?.p95_s != null) {
    setText("fresh-words", "95 % of payments are here within");
    setText("fresh-value", `${freshness.p95_s.toFixed(1)} s`);
  } else {
    setText("fresh-words", isStarting ? "Waiting for the server" : "No payment in the last 5 minutes");
    setText("fresh-value", "");
  }
  const wrong = trouble(store, health ?? []);
  byId("banner").hidden = !wrong;
  setText("banner", wrong);
  document.body.classList.toggle("is-old", Boolean(wrong));
}

function trouble(store, health) {
  if (connection.lostAt) return `No connection to the server since ${hourAndMinute(connection.lostAt, true)}. The figures are of that time; trying again.`;
  if (!store) return "";
  if (!store.is_there) return `PostgreSQL has not answered since ${hourAndMinute(store.since_ms, true)}. The figures are of that time; nothing is lost.`;
  return health.length ? `The figures may be old: ${health.map(({ part, says }) => `the ${part} ${says}`).join(", ")}.` : "";
}

function take(news) {
  if (news.server) {
    if (connection.build && connection.build !== news.server.build) location.reload();
    connection.build = news.server.build;
    connection.clockAheadMs = news.server.clock_ahead_ms;
    delete news.server;
  }
  Object.assign(panels, news);
  const drawers = new Set(Object.keys(news).map((name) => draw[name]).filter(Boolean));
  for (const drawer of drawers) drawer();
  if (news.freshness) painted(news.freshness.stored_at_ms);
}

// For measurements: when what was stored at a time has been painted.
function painted(storedAtMs) {
  requestAnimationFrame(() => requestAnimationFrame(() => {
    document.body.dataset.storedAtMs = String(storedAtMs);
  }));
}

function hear({ news, isLost }) {
  if (news) take(news);
  if (isLost === undefined) return;
  connection.lostAt = isLost ? connection.lostAt ?? Date.now() : null;
  drawState();
}

function follow() {
  if (!window.SharedWorker) return listen(hear); // as on phones, whose tabs are few
  const { port } = new SharedWorker("/static/shared_stream.js", { type: "module" });
  port.onmessage = ({ data }) => hear(data);
  addEventListener("pagehide", () => port.postMessage("going"), { once: true });
}

function chooseTheme(theme) {
  document.documentElement.dataset.theme = theme;
  setText("theme", `Theme: ${theme}`);
  localStorage.setItem("theme", theme);
  redraw();
}

byId("theme").addEventListener("click", () => {
  const themes = ["auto", "light", "dark"];
  chooseTheme(themes[(themes.indexOf(document.documentElement.dataset.theme) + 1) % themes.length]);
});
chooseTheme(localStorage.getItem("theme") ?? "auto");
byId("span").addEventListener("change", () => panels.top && draw.top());
byId("minutes-details").addEventListener("toggle", () => panels.sales && drawMinutes());
byId("top-rows").addEventListener("click", ({ target }) => target.dataset.product && product.open(target.dataset.product));
setInterval(() => {
  drawState();
  if (panels.carts) for (const [at, found] of [...byId("carts-rows").children].entries()) found.firstChild.textContent = ago(nowMs() - Date.parse(panels.carts.newest[at].abandoned_at));
}, 1000);
setInterval(() => panels.sales && drawMinutes(), 15_000);
addEventListener("pageshow", ({ persisted }) => persisted && follow());
follow();
