// Keys and values that the JSON Schema of flows knows at the cursor, by the keys above it that stand further left.
//
// Where a line stands says where it belongs, in YAML by its rules and in JSON as everybody writes it; so the text may
// be broken while it is typed.

const LINE = /^(\s*(?:-\s+)*)(?:\{\s*)?(?:"((?:[^"\\]|\\.)*)"|([\w$.-]+))\s*:\s*(.*)$/;

export function completer(schema, quoted) {
  return (context) => {
    const line = context.state.doc.lineAt(context.pos);
    const before = line.text.slice(0, context.pos - line.from);
    const value = /^(\s*(?:-\s+)*)(?:"([^"]*)"|([\w$.-]+))\s*:\s+"?([\w.-]*)$/.exec(before);
    const key = /^(\s*(?:-\s+)*)"?([\w$.-]*)$/.exec(before);
    if (!value && (!key || (!key[2] && !context.explicit))) return null;
    const typed = value ? value[4] : key[2];
    const column = (value ?? key)[1].length;
    const places = schemasAt(schema, keysAbove(context.state.doc, line.number, column));
    const options = value ? values(schema, places, value[2] ?? value[3], quoted, before.endsWith(`"${typed}`)) : keys(schema, places, quoted, before.endsWith(`"${typed}`));
    return options.length ? { from: context.pos - typed.length, options, validFor: /^[\w.-]*$/ } : null;
  };
}

// [{key, type}] from the outside in; `type` is what the object around the key says its type is.
function keysAbove(doc, number, column) {
  const found = [];
  let left = column;
  let type = null;
  for (let n = number - 1; n > 0; n--) {
    const at = parse(doc.line(n).text);
    if (!at) continue;
    if (at.column === left && at.key === "type") type ??= at.value;
    if (at.column >= left) continue;
    found.unshift({ key: at.key });
    left = at.column;
    found[0].type = typeAround(doc, n, left);
  }
  found.here = type ?? typeAround(doc, number, column);
  return found;
}

function typeAround(doc, number, column) {
  for (const step of [-1, 1]) {
    for (let n = number; n > 0 && n <= doc.lines; n += step) {
      const at = parse(doc.line(n).text);
      if (!at) continue;
      if (at.column < column) break;
      if (at.column === column && at.key === "type") return at.value;
      if (step === -1 ? at.begins && at.column === column : at.begins && n !== number && at.column <= column) break;
    }
  }
  return null;
}

function parse(text) {
  const found = LINE.exec(text);
  if (!found) return null;
  const value = found[4].replace(/,\s*$/, "").replace(/^"|"$/g, "");
  return { column: found[1].length, key: found[2] ?? found[3], value, begins: found[1].includes("-") };
}

function schemasAt(root, path) {
  let places = variants(root, root, path.length ? path[0].type : path.here);
  path.forEach(({ key }, index) => {
    const inside = index + 1 < path.length ? path[index + 1].type : path.here;
    places = places.flatMap((one) => under(root, one, key, inside));
  });
  return places;
}

function under(root, schema, key, type) {
  const next = schema.properties?.[key] ?? (typeof schema.additionalProperties === "object" ? schema.additionalProperties : null);
  return next ? variants(root, next, type) : [];
}

// A schema and all that it is made of; a list stands for its items.
function variants(root, schema, type) {
  if (schema.$ref) {
    const named = schema.$ref.split("/").slice(1).reduce((place, name) => place[name], root);
    return variants(root, named, type).map((one) => ({ description: schema.description, ...one }));
  }
  const parts = [...(schema.anyOf ?? []), ...(schema.oneOf ?? []), ...(schema.allOf ?? [])];
  const found = [schema, ...parts.flatMap((one) => variants(root, one, type))];
  if (schema.then && type && schema.if?.properties?.type?.const === type) found.push(...variants(root, schema.then, type));
  if (schema.items) found.push(...variants(root, schema.items, type));
  return found;
}

function keys(root, places, quoted, isOpen) {
  const known = new Map();
  for (const place of places) {
    for (const [name, schema] of Object.entries(place.properties ?? {})) {
      if (name.startsWith("$") || schema.not || (known.get(name)?.info && !schema.description)) continue;
      const needed = place.required?.includes(name);
      const text = quoted ? `${isOpen ? "" : '"'}${name}": ` : `${name}: `;
      known.set(name, { label: name, apply: text, type: "property", info: schema.description, boost: needed ? 1 : 0 });
    }
  }
  return [...known.values()];
}

function values(root, places, key, quoted, isOpen) {
  const found = places.flatMap((place) => under(root, place, key, null));
  const known = new Set(found.flatMap((one) => one.enum ?? ("const" in one ? [one.const] : one.type === "boolean" ? [true, false] : [])));
  return [...known].map((one) => {
    const text = typeof one === "string" && quoted && !isOpen ? JSON.stringify(one) : String(one);
    return { label: String(one), apply: text, type: "enum" };
  });
}
