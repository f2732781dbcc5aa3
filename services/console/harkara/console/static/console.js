"use strict";
// Keeps the page's view live: the server sends its HTML whenever it changed. Without this script the page works, unlive.
const view = document.querySelector("[data-view]");
const sign = document.getElementById("live");
const localise = (root) => {
  for (const time of root.querySelectorAll("time")) {
    time.title = new Date(time.dateTime).toLocaleString(undefined, { timeZoneName: "short" });
  }
};
localise(document);
if (view && window.EventSource) {
  const stream = new EventSource("/events?view=" + encodeURIComponent(view.dataset.view));
  let waiting = null;
  const show = () => {
    // not under the reader's hands: what has the focus or a selection stays until it is left
    if (waiting === null || view.contains(document.activeElement) || !window.getSelection().isCollapsed) return;
    const scrolled = [...view.querySelectorAll("section, .scroll")].map((part) => part.scrollLeft);
    view.innerHTML = waiting;  // our own server's escaped HTML; the content policy allows no inline script
    waiting = null;
    localise(view);
    view.querySelectorAll("section, .scroll").forEach((part, n) => { part.scrollLeft = scrolled[n] || 0; });
  };
  stream.addEventListener("view", (event) => { waiting = event.data; show(); });
  stream.addEventListener("open", () => { sign.textContent = "live"; });
  stream.addEventListener("error", () => { sign.textContent = "not live: reconnecting"; });
  view.addEventListener("focusout", () => window.setTimeout(show, 0));
  document.addEventListener("selectionchange", show);
}
