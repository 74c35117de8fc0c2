// One product in a dialog: asked for when it is opened, and again while it is open.

import { drawBars } from "./charts.js";
import { byId, cell, count, dayAndTime, hourAndMinute, money, row, setText } from "./text.js";

const EVERY_MS = 5000;
const HOUR_MS = 3_600_000;

export class Product {
  #dialog = byId("product");
  #nowMs;
  #timer = null;
  #id = null;

  constructor(nowMs) {
    this.#nowMs = nowMs;
    byId("product-close").addEventListener("click", () => this.#dialog.close());
    this.#dialog.addEventListener("close", () => {
      clearInterval(this.#timer);
      // The button that was pressed may have been drawn anew since, or be gone.
      (document.querySelector(`button[data-product="${CSS.escape(this.#id)}"]`) ?? byId("figures")).focus();
    });
  }

  open(id) {
    this.#id = id;
    setText("h-product", `Product ${id}`);
    setText("product-facts", "Asking …");
    byId("product-body").hidden = true;
    byId("product-error").hidden = true;
    this.#dialog.showModal();
    this.#ask();
    clearInterval(this.#timer);
    this.#timer = setInterval(() => this.#ask(), EVERY_MS);
  }

  async #ask() {
    const id = this.#id;
    try {
      const response = await fetch(`/products/${encodeURIComponent(id)}`);
      const found = await response.json();
      if (id !== this.#id) return;
      if (!response.ok) throw new Error(found.error);
      this.#show(found);
    } catch (error) {
      byId("product-error").hidden = false;
      setText("product-error", `This cannot be shown now: ${error.message}.`);
      if (byId("product-body").hidden) setText("product-facts", "");
    }
  }

  #show(found) {
    byId("product-error").hidden = true;
    byId("product-body").hidden = false;
    const facts = [found.brand ?? "no brand", found.category_code, found.price === null ? null : `${money(found.price)} in its newest event`];
    setText("product-facts", facts.filter(Boolean).join(" · "));
    setText("product-units", count(found.sold?.units ?? 0));
    setText("product-revenue", money(found.sold?.revenue_usd ?? 0));
    setText("product-refunds", money(found.sold?.refund_usd ?? 0));
    this.#curve(found.hours);
    byId("product-orders").replaceChildren(
      ...found.orders.map((order) => row(cell(dayAndTime(Date.parse(order.ordered_at))), cell(order.user_id), cell(count(order.lines), "n"), cell(money(order.total_usd), "n"))),
    );
    byId("product-none").hidden = found.orders.length > 0;
  }

  #curve(hours) {
    const last = Math.floor(this.#nowMs() / HOUR_MS) * HOUR_MS;
    const revenue = new Map(hours.map((each) => [Date.parse(each.hour_at), Number(each.revenue_usd)]));
    const starts = Array.from({ length: 25 }, (_, at) => last - (24 - at) * HOUR_MS);
    const values = starts.map((at) => revenue.get(at) ?? 0);
    const sum = values.reduce((all, each) => all + each, 0);
    const words = sum ? `Revenue by hour: ${money(sum)} in the last day, at most ${money(Math.max(...values))} in an hour` : "No sale in the last day";
    drawBars(byId("product-chart"), words, starts.map((at) => hourAndMinute(at)), values, true);
  }
}
