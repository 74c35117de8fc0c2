// One stream for all tabs of a browser: over HTTP/1.1 it opens six connections to a host, and each stream keeps one.

import { listen } from "./stream.js";

const tabs = new Set();
const newest = {};
let isLost = false;

listen((message) => {
  isLost = message.isLost ?? isLost;
  Object.assign(newest, message.news);
  for (const tab of tabs) tab.postMessage(message);
});

addEventListener("connect", ({ ports: [tab] }) => {
  tab.onmessage = () => tabs.delete(tab); // it says nothing but that it goes
  tab.postMessage({ news: { ...newest } });
  tab.postMessage({ isLost });
  tabs.add(tab);
});
