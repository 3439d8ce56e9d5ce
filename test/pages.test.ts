/** The pages lead to each other: no link to nowhere, and no page that nobody links. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";

const ROOT = path.resolve(import.meta.dirname, "..");
const TOP = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "bench/README.md"];
const PAGES = [...TOP, ...fs.globSync("docs/**/*.md", { cwd: ROOT })];

const textOf = (page: string): string => fs.readFileSync(path.join(ROOT, page), "utf8");

/** Where a page's links lead, as paths from the top, with their anchors. */
function linksOf(page: string): string[] {
  const text = textOf(page)
    .replaceAll(/^```[^]*?^```/gm, "")
    .replaceAll(/`[^`\n]*`/g, "");
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target = ""]) => target)
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((target) => (target.startsWith("#") ? page + target : path.join(path.dirname(page), target)));
}

/** As the places that show Markdown make them from headings. */
function anchorsOf(page: string): string[] {
  return [...textOf(page).matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
      .replaceAll(" ", "-"),
  );
}

test("every link leads somewhere", () => {
  for (const page of PAGES) {
    for (const link of linksOf(page)) {
      const [target = "", anchor] = link.split("#");
      assert.ok(fs.existsSync(path.join(ROOT, target)), `${page}: ${link}`);
      if (anchor !== undefined) assert.ok(anchorsOf(target).includes(anchor), `${page}: ${link}`);
    }
  }
});

test("README lists every page for users", () => {
  const linked = linksOf("README.md");
  for (const page of fs.globSync("docs/{*,how-to/*}.md", { cwd: ROOT })) {
    assert.ok(linked.includes(page), `${page} is linked from nowhere`);
  }
});
