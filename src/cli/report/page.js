(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const told = document.createElement('div');
  told.id = 'told';
  told.setAttribute('role', 'status');
  document.querySelector('main').append(told);
  const at = data.minutes.map((minute) => Date.parse(minute));
  const span = Math.max(Date.parse(data.until) - at[0], 60000);
  const figures = [...document.querySelectorAll('figure')].map((figure, index) => {
    const svg = figure.querySelector('svg');
    const now = document.createElementNS('http://www.w3.org/2000/svg', 'path');
    now.setAttribute('class', 'now');
    svg.append(now);
    return { svg, now, chart: data.charts[index], cells: [...figure.querySelectorAll('b[data-now]')] };
  });
  const word = (value, unit) =>
    value === null ? '–' : (Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3)) + unit;
  const show = (index) => {
    const x = ((at[index] - at[0]) / span) * 1000;
    for (const { now, chart, cells } of figures) {
      now.setAttribute('d', `M${x} 0V200`);
      chart.lines.forEach((line, which) => { cells[which].textContent = word(line.values[index], chart.unit); });
    }
    const [decision, why] = data.told[index];
    told.textContent = `${data.minutes[index].slice(0, 16).replace('T', ' ')}  ${decision}: ${why}`;
  };
  const nearest = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const time = at[0] + Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1) * span;
    let best = 0;
    at.forEach((moment, index) => { if (Math.abs(moment - time) < Math.abs(at[best] - time)) best = index; });
    show(best);
  };
  for (const { svg } of figures) svg.addEventListener('pointermove', nearest);
})();
