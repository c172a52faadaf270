import { Badge, Tooltip } from "antd";
import { listServices } from "../../api/calls";
import type { ServiceState } from "../../api/types";
import { useQuery } from "../../api/useQuery";
import { count, toNumber } from "../../format/number";
import { useTexts, word } from "../../i18n";
import { Loaded } from "../../parts/Loaded";
import { Panel } from "../../parts/Room";

const POLL_MS = 5000;

/** What every service has in hand, for whoever is on call. */
export function Services() {
  const t = useTexts();
  const query = useQuery("services", (signal) => listServices(signal), POLL_MS);
  return (
    <Panel title={t.board.services} testId="services">
      <Loaded query={query}>
        {({ services }) => (
          <div className="lines">
            {services.map((s) => (
              <Line key={s.service} state={s} />
            ))}
          </div>
        )}
      </Loaded>
    </Panel>
  );
}

function Line({ state }: { state: ServiceState }) {
  const t = useTexts();
  const status = state.status;
  const pending = (status?.consumers ?? []).reduce((n, c) => n + toNumber(c.pending) + toNumber(c.ackPending), 0);
  const dead = toNumber(status?.deadLetters);
  const what = !state.reachable ? t.board.down : status?.idle ? t.board.idle : t.board.busy;
  const dot = !state.reachable ? "error" : status?.idle ? "success" : "processing";
  return (
    <div className="line" data-service={state.service} data-reachable={state.reachable}>
      <Badge status={dot} text={word(t.words.service, state.service)} />
      <Tooltip
        title={
          state.reachable
            ? `${t.board.handledMessages} ${count(status?.handled)} · ${t.board.outbox} ${count(status?.outboxRows)} · ${t.board.pending} ${count(pending)}`
            : state.error
        }
      >
        <span className={state.reachable ? "soft" : ""} style={state.reachable ? {} : { color: "#cf3a2f" }}>
          {what}
          {toNumber(status?.outboxRows) > 0 && ` · ${t.board.outbox} ${count(status?.outboxRows)}`}
          {pending > 0 && ` · ${t.board.pending} ${count(pending)}`}
          {dead > 0 && (
            <b style={{ color: "#cf3a2f" }}>
              {" "}
              · {t.board.deadLetters} {count(dead)}
            </b>
          )}
        </span>
      </Tooltip>
    </div>
  );
}
