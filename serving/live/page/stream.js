// What the server tells, as messages: { news } with panels that are new, { isLost } when the connection goes or comes back.

const AGAIN_MS = 2000;

export function listen(tell) {
  const source = new EventSource("/events");
  source.onopen = () => tell({ isLost: false });
  source.onmessage = ({ data }) => {
    const news = JSON.parse(data);
    if (news.server) news.server.clock_ahead_ms = news.server.now_ms - Date.now();
    tell({ news });
  };
  source.onerror = () => {
    tell({ isLost: true });
    if (source.readyState === EventSource.CLOSED) setTimeout(() => listen(tell), AGAIN_MS);
  };
}
