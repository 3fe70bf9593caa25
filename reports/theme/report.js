// Values under a crosshair, for pointers and keys. Everything it says stands in the table behind the chart, from which it
// reads; without it the page lacks nothing else.
(() => {
  'use strict';

  const nines = (percentile) => -Math.log10(Math.max(1 - percentile / 100, 1e-9));
  const scales = { linear: (value) => value, logarithmic: Math.log10, nines };

  function add(parent, tag, kind, text) {
    const element = parent.appendChild(document.createElement(tag));
    element.className = kind;
    if (text !== undefined) element.textContent = text;
    return element;
  }

  // Rows of the table behind a chart: where each lies, 0 to 1, and what it says.
  function read(figure) {
    const { kind, scale, from, to } = figure.dataset;
    const at = scales[scale];
    const place = (value) => (at(value) - at(Number(from))) / (at(Number(to)) - at(Number(from)));
    const heads = [...figure.querySelectorAll('.data th')];
    const names = heads.map((head) => head.textContent);
    const rows = [...figure.querySelectorAll('.data tbody tr')].map((row) => {
      const cells = [...row.cells].map((cell) => cell.textContent);
      const ends = kind === 'ranges' ? [Number(cells[0]), Number(cells[1])] : [Number(cells[0])];
      const where = ends.reduce((sum, end) => sum + place(end), 0) / ends.length;
      return { where, cells };
    });
    if (kind === 'cells') {
      // A column of cells begins where it says: its middle is half of the narrowest column further.
      const gaps = rows.slice(1).map((row, index) => row.where - rows[index].where);
      const half = Math.min(...gaps, 1) / 2;
      rows.forEach((row) => { row.where += half; });
    }
    return { kind, names, rows };
  }

  // What a row says: a heading, and pairs of a name and a value.
  function told({ kind, names, rows }, index) {
    const { cells } = rows[index];
    if (kind === 'ranges') return [`${cells[0]} to ${cells[1]}`, [[names[2], cells[2]]]];
    const heading = `${names[0]}: ${cells[0]}`;
    const pairs = names.slice(1).map((name, column) => [name, cells[column + 1]]).filter((pair) => pair[1] !== '');
    if (kind !== 'cells') return [heading, pairs];
    return [heading, pairs.reverse()];
  }

  function follow(view, table) {
    const [left, top, right, bottom] = view.dataset.plot.split(' ').map(Number);
    const title = view.closest('figure').querySelector('h3').textContent;
    const scrub = add(view, 'div', 'scrub');
    Object.assign(scrub.style, {
      left: `${left * 100}%`, top: `${top * 100}%`, width: `${(right - left) * 100}%`, height: `${(bottom - top) * 100}%`,
    });
    const last = table.rows.length - 1;
    const attributes = { role: 'slider', tabindex: 0, 'aria-label': `Values of ${title}`, 'aria-valuemin': 0, 'aria-valuemax': last };
    Object.entries(attributes).forEach(([name, value]) => scrub.setAttribute(name, value));
    let shown = null;
    let tip = null;
    let cross = null;

    const say = (index) => {
      const [heading, pairs] = told(table, index);
      scrub.setAttribute('aria-valuenow', index);
      scrub.setAttribute('aria-valuetext', `${heading}; ${pairs.map((pair) => pair.join(' ')).join(', ')}`);
      return [heading, pairs];
    };
    const hide = () => {
      [tip, cross].forEach((element) => element && element.remove());
      tip = cross = shown = null;
    };
    const show = (index) => {
      const bounded = Math.max(0, Math.min(last, index));
      if (bounded === shown) return;
      hide();
      shown = bounded;
      const [heading, pairs] = say(bounded);
      cross = add(scrub, 'div', 'cross');
      cross.style.left = `${table.rows[bounded].where * 100}%`;
      tip = add(scrub, 'div', 'tip');
      add(tip, 'b', '', heading);
      pairs.slice(0, 14).forEach(([name, value]) => {
        const line = add(tip, 'span', '');
        add(line, 'em', '', name).style.fontStyle = 'normal';
        add(line, 'strong', '', value);
      });
      if (pairs.length > 14) add(tip, 'span', '', '…');
      const beyond = table.rows[bounded].where > 0.55;
      tip.style[beyond ? 'right' : 'left'] = `calc(${(beyond ? 1 - table.rows[bounded].where : table.rows[bounded].where) * 100}% + 10px)`;
    };
    const nearest = (event) => {
      const box = scrub.getBoundingClientRect();
      const where = (event.clientX - box.left) / box.width;
      let best = 0;
      table.rows.forEach((row, index) => {
        if (Math.abs(row.where - where) < Math.abs(table.rows[best].where - where)) best = index;
      });
      return best;
    };
    scrub.addEventListener('pointermove', (event) => show(nearest(event)));
    scrub.addEventListener('pointerdown', (event) => show(nearest(event)));
    scrub.addEventListener('pointerleave', hide);
    scrub.addEventListener('focus', () => { if (scrub.matches(':focus-visible')) show(shown ?? 0); });
    scrub.addEventListener('blur', hide);
    scrub.addEventListener('keydown', (event) => {
      const far = Math.max(1, Math.round(last / 10));
      const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: far, PageDown: -far };
      const next = { Home: 0, End: last }[event.key] ?? (event.key in steps ? (shown ?? 0) + steps[event.key] : null);
      if (event.key === 'Escape') hide();
      if (next === null) return;
      event.preventDefault();
      show(next);
    });
    say(0);
  }

  for (const figure of document.querySelectorAll('figure[data-kind]')) {
    const table = read(figure);
    table.rows = table.rows.filter((row) => row.where >= -0.01 && row.where <= 1.01);
    if (table.rows.length > 0) figure.querySelectorAll('[data-plot]').forEach((view) => follow(view, table));
  }
})();
