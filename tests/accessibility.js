// What is wrong for people with a keyboard, a screen reader, or weak eyes, on the page as it is now: a list of sentences.
(() => {
  const wrong = [];
  const say = (element, text) => wrong.push(`${element.tagName.toLowerCase()}.${element.getAttribute("class") ?? ""} "${(element.textContent ?? "").trim().slice(0, 40)}": ${text}`);
  const seen = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && element.getClientRects().length > 0;

  // names
  const text = (element) => [...element.querySelectorAll("img[alt]")].map((image) => image.alt).join("") + element.textContent;
  const named = (element) => {
    const by = (element.getAttribute("aria-labelledby") ?? "").split(" ").map((id) => document.getElementById(id)?.textContent ?? "").join("");
    const label = element.labels?.[0]?.textContent ?? "";
    const own = element.matches("input, select, textarea, [role=tree]") ? "" : text(element);
    return [element.getAttribute("aria-label"), by, label, own, element.matches("button, a") ? element.title : ""].some((found) => found && /[\p{L}\p{N}?]/u.test(found));
  };
  for (const element of document.querySelectorAll("a[href], button, input, select, textarea, summary, [role], [tabindex='0']")) {
    if (seen(element) && !element.matches("[role=presentation], [role=status], [role=alert], [role=search]") && !named(element)) say(element, "has no name");
  }
  for (const image of document.querySelectorAll("img")) if (!image.hasAttribute("alt")) say(image, "has no alt");
  for (const hidden of document.querySelectorAll("[aria-hidden=true]")) {
    if (hidden.querySelector("a[href], button, input, select, [tabindex='0']")) say(hidden, "is hidden from those who hear the page, but can be focused");
  }

  // structure
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  for (const id of ids.filter((found, index) => ids.indexOf(found) !== index)) wrong.push(`id ${id} is given twice`);
  if (!document.documentElement.lang) wrong.push("the page has no language");
  if (document.querySelectorAll("main").length !== 1) wrong.push("there is not one main");
  if (document.querySelectorAll("h1").length !== 1) wrong.push(`there are ${document.querySelectorAll("h1").length} h1`);
  if (!document.title.includes("llmon")) wrong.push("the title does not name the page");
  for (const tree of document.querySelectorAll("[role=tree]")) {
    const active = tree.getAttribute("aria-activedescendant");
    if (active && !document.getElementById(active)) say(tree, "points to a row that is not there");
    if (!tree.querySelector("[role=treeitem][aria-level]")) say(tree, "has no items");
  }

  // room for a finger: 24 pixels, or alone in a line of text
  for (const element of document.querySelectorAll("button, select, input:not([type=checkbox]), nav a")) {
    const box = element.getBoundingClientRect();
    if (seen(element) && !element.matches(".link, .more") && (box.height < 24 || box.width < 24)) say(element, `is ${Math.round(box.width)} by ${Math.round(box.height)} pixels`);
  }

  // contrast
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = pen.getImageData(0, 0, 1, 1).data;
    return [red, green, blue, alpha / 255];
  };
  const over = (top, below) => [0, 1, 2].map((index) => top[index] * top[3] + below[index] * (1 - top[3]));
  const light = (colour) => {
    const [red, green, blue] = colour.map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ratio = (one, other) => {
    const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const ground = (stack) => {
    let found = [255, 255, 255];
    for (const element of stack.toReversed()) found = over(rgba(getComputedStyle(element).backgroundColor), found);
    return found;
  };
  const faded = (element) => {
    let opacity = 1;
    for (let at = element; at; at = at.parentElement) opacity *= Number(getComputedStyle(at).opacity);
    return opacity;
  };
  // what lies under a point, and not only what an element is inside of: a label may lie on a bar
  const under = (element, box) => {
    const stack = document.elementsFromPoint(box.x + box.width / 2, box.y + box.height / 2);
    const at = stack.indexOf(element);
    return at < 0 ? null : stack.slice(at);
  };
  let texts = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !seen(element) || element.closest(".heard, option, :disabled, .skip, title")) continue;
    const range = document.createRange();
    range.selectNodeContents(walker.currentNode);
    const stack = under(element, range.getBoundingClientRect());
    if (!stack) continue;
    const style = getComputedStyle(element);
    const colour = rgba(element.closest("svg") ? style.fill : style.color);
    const back = ground(stack);
    const found = ratio(over([...colour.slice(0, 3), colour[3] * faded(element)], back), back);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && Number(style.fontWeight) >= 700);
    texts += 1;
    if (found < (large ? 3 : 4.5)) say(element, `contrast ${found.toFixed(2)}`);
  }
  if (texts < 10) wrong.push(`only ${texts} texts were looked at`);
  for (const mark of document.querySelectorAll(".bar, .dot, .stripe, .mark, .meter i")) {
    if (!seen(mark) || !mark.getBoundingClientRect().width) continue;
    const stack = under(mark, mark.getBoundingClientRect());
    if (!stack || mark.matches(".mark.below")) continue;
    const back = ground(stack.slice(1));
    const own = rgba(getComputedStyle(mark).backgroundColor);
    const found = ratio(over([...own.slice(0, 3), own[3] * (mark.closest(".live") ? 1 : faded(mark))], back), back);
    if (own[3] > 0 && found < 3) say(mark, `contrast of the mark ${found.toFixed(2)}`);
  }
  return wrong;
})()
