import { Alert, Drawer, Typography } from "antd";
import type { Span } from "../../api/types";
import { Link } from "../../app/router";
import { micros } from "../../format/number";
import { dateTime } from "../../format/time";
import { useTexts, word } from "../../i18n";
import { serviceColour } from "./services";

/** Everything a span tells. */
export function SpanDrawer({ span, offset, onClose }: { span?: Span; offset: number; onClose: () => void }) {
  const t = useTexts();
  return (
    <Drawer
      open={span !== undefined}
      onClose={onClose}
      size={460}
      mask={false}
      title={span && <span style={{ overflowWrap: "anywhere" }}>{span.displayName}</span>}
      data-testid="span-drawer"
    >
      {span && (
        <>
          {span.error && (
            <Alert
              type="error"
              showIcon
              title={t.trace.failed}
              description={span.statusMessage || "–"}
              style={{ marginBottom: 14 }}
            />
          )}
          <dl className="facts">
            <dt>{t.trace.service}</dt>
            <dd>
              <span className="wf-service" style={{ background: serviceColour(span.service) }}>
                {word(t.words.service, span.service)}
              </span>
            </dd>
            <dt>{t.trace.kind}</dt>
            <dd>{word(t.words.spanKind, span.kind)}</dd>
            <dt>{t.trace.start}</dt>
            <dd className="num">{dateTime(span.startTime, true)}</dd>
            <dt>{t.trace.offset}</dt>
            <dd className="num">{micros(offset)}</dd>
            <dt>{t.trace.duration}</dt>
            <dd className="num">{micros(span.durationMicros)}</dd>
          </dl>
          <h3 style={{ fontSize: 13, margin: "18px 0 8px" }}>{t.trace.attributes}</h3>
          {Object.keys(span.attributes).length === 0 && <span className="soft">{t.trace.attributesNone}</span>}
          <dl className="facts mono" data-testid="attributes">
            {Object.entries(span.attributes)
              .sort(([a], [b]) => a.localeCompare(b))
              .map(([key, value]) => (
                <Attribute key={key} name={key} value={value} />
              ))}
          </dl>
          {span.links.length > 0 && (
            <>
              <h3 style={{ fontSize: 13, margin: "18px 0 8px" }}>{t.trace.links}</h3>
              {span.links.map((id) => (
                <div key={id}>
                  <Link className="mono" to={`/traces/${id}`}>
                    {id}
                  </Link>
                </div>
              ))}
            </>
          )}
        </>
      )}
    </Drawer>
  );
}

function Attribute({ name, value }: { name: string; value: string }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>
        <Typography.Text copyable={{ tooltips: false }} style={{ fontSize: 12 }}>
          {value}
        </Typography.Text>
      </dd>
    </>
  );
}
