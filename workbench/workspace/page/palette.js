// The command palette: everything that can be done, found by typing.

import { element } from "../../explorer/map/state.js";

const COMMANDS = 12;

/** How well a text has all words of a query: the place of the first, or −1. */
export function match(text, query) {
  const low = text.toLowerCase();
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.every((word) => low.includes(word))) return -1;
  return words.length ? low.indexOf(words[0]) : 0;
}

/** A palette over commands `{ say, act, value }`; `run` is given the chosen one. */
export class Palette {
  /** The palette of one root. */
  constructor(root, run) {
    this.run = run;
    this.box = element("dialog", "palette");
    this.input = element("input");
    this.list = element("div", "commands");
    this.input.setAttribute("aria-label", "command");
    this.input.placeholder = "what to do …";
    this.list.setAttribute("role", "listbox");
    this.box.append(this.input, this.list);
    this.box.setAttribute("aria-label", "commands");
    root.append(this.box);
    this.input.addEventListener("input", () => this.fill());
    this.box.addEventListener("keydown", (e) => this.key(e));
    this.box.addEventListener("click", (e) => {
      if (e.target === this.box) this.box.close();
    });
  }

  /** Open it over these commands. */
  open(commands) {
    this.commands = commands;
    this.input.value = "";
    this.fill();
    this.box.showModal();
    this.input.focus();
  }

  /** Show the commands that have what was typed. */
  fill() {
    this.at = 0;
    this.hits = this.commands
      .map((command) => [match(command.say, this.input.value), command])
      .filter(([place]) => place >= 0)
      .sort(([a], [b]) => a - b)
      .map(([, command]) => command)
      .slice(0, COMMANDS);
    this.show();
  }

  /** Show the list, the chosen one marked. */
  show() {
    const rows = this.hits.map((command, k) => {
      const row = element("button", "", command.say);
      row.setAttribute("role", "option");
      row.setAttribute("aria-selected", k === this.at);
      row.tabIndex = -1;
      row.onclick = () => this.take(command);
      return row;
    });
    this.list.replaceChildren(
      ...(rows.length ? rows : [element("p", "quiet", "nothing by that name")]),
    );
  }

  /** Move the mark, or take what it stands on. */
  key(e) {
    const by = { ArrowDown: 1, ArrowUp: -1 }[e.key];
    if (by && this.hits.length) {
      this.at = (this.at + by + this.hits.length) % this.hits.length;
      this.show();
    } else if (e.key === "Enter" && this.hits[this.at]) this.take(this.hits[this.at]);
    else if (e.key !== "Escape") {
      e.stopPropagation();
      return;
    }
    if (e.key !== "Escape") e.preventDefault();
    e.stopPropagation();
  }

  /** Do a command. */
  take(command) {
    this.box.close();
    this.run(command);
  }
}
