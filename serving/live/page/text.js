// Words and figures as the page writes them, and the elements that hold them.

const MONEY = new Intl.NumberFormat("en-US", { style: "currency", currency: "USD" });
const COUNT = new Intl.NumberFormat("en-US");
const TIME = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: "UTC" });
const TIME_TO_SECONDS = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", timeZone: "UTC" });
const DAY_AND_TIME = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", timeZone: "UTC" });

export const byId = (id) => document.getElementById(id);
export const money = (usd) => MONEY.format(Number(usd));
export const count = (number) => COUNT.format(number);
export const hourAndMinute = (ms, seconds = false) => (seconds ? TIME_TO_SECONDS : TIME).format(ms);
export const dayAndTime = (ms) => DAY_AND_TIME.format(ms);
export const withUnit = (number, one, many) => `${count(number)} ${number === 1 ? one : many}`;

export function setText(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

export function ago(ms) {
  const minutes = Math.max(0, Math.floor(ms / 60_000));
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${minutes} min ago`;
  return minutes < 1440 ? `${Math.floor(minutes / 60)} h ago` : `${Math.floor(minutes / 1440)} d ago`;
}

export function cell(content, className = "") {
  const found = document.createElement("td");
  if (className) found.className = className;
  found.append(content);
  return found;
}

export function row(...cells) {
  const found = document.createElement("tr");
  found.append(...cells);
  return found;
}
