// Without this file the page is as it was when it was opened; with it, it is read again while it is looked at.
"use strict";

const live = document.getElementById("live");
const pause = 3000; // milliseconds; the driver writes its record every two seconds

async function again() {
  // a person who selects text or reads further down a log is not interrupted
  if (document.hidden || !document.getSelection().isCollapsed) return true;
  try {
    const response = await fetch(location.href, { headers: { "X-Part": "running" } });
    if (!response.ok) return response.status !== 404; // it is over
    const text = await response.text();
    const log = live.querySelector("pre.log");
    const end = !log || log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
    const top = log ? log.scrollTop : 0;
    live.innerHTML = text; // our own template, which escapes every value
    const next = live.querySelector("[aria-label^='Last lines']");
    if (next) next.scrollTop = end ? next.scrollHeight : top;
  } catch {
    // the server was stopped; it may come back
  }
  return true;
}

async function run() {
  if (await again()) setTimeout(run, pause);
  else location.href = "/#runs"; // finished: its report is listed there
}

if (live) {
  const first = live.querySelector("[aria-label^='Last lines']");
  if (first) first.scrollTop = first.scrollHeight;
  setTimeout(run, pause);
}
