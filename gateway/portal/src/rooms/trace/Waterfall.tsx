import { CaretDownOutlined, CaretRightOutlined } from "@ant-design/icons";
import { Button, Flex, Segmented, Tag } from "antd";
import { useMemo, useState } from "react";
import type { Span } from "../../api/types";
import { count, micros } from "../../format/number";
import { useTexts, word } from "../../i18n";
import { shortName } from "./search";
import { serviceColour } from "./services";
import { type Row, foldByService, openable, rowsOf, treeOf } from "./tree";

/** From here on a trace opens folded by service. */
const MANY = 60;
const SHOWN = 400;
const TICKS = [0, 0.25, 0.5, 0.75];

/** The steps of a trace on one time axis. */
export function Waterfall({
  spans,
  selected,
  onSelect,
}: {
  spans: Span[];
  selected?: string;
  onSelect: (span: Span) => void;
}) {
  const t = useTexts();
  const [view, setView] = useState<"all" | "service">(spans.length > MANY ? "service" : "all");
  const [closed, setClosed] = useState(new Set<string>());
  const [opened, setOpened] = useState(new Set<string>());
  const [most, setMost] = useState(SHOWN);
  const [only, setOnly] = useState<string>();
  const tree = useMemo(() => treeOf(spans), [spans]);
  const roots = useMemo(() => (view === "service" ? foldByService(tree.roots) : tree.roots), [tree, view]);
  const rows = useMemo(() => rowsOf(roots, closed, opened), [roots, closed, opened]);
  const services = useMemo(() => [...new Set(spans.map((s) => s.service))].sort(), [spans]);
  const shown = only ? rows.filter((r) => r.node.span.service === only) : rows;

  const toggle = (row: Row) => {
    const isGroup = row.members.length > 1;
    const change = isGroup ? setOpened : setClosed;
    change((old) => {
      const next = new Set(old);
      if (!next.delete(row.key)) next.add(row.key);
      return next;
    });
  };

  return (
    <div>
      <Flex gap={8} wrap align="center" style={{ padding: "10px 16px" }}>
        <Segmented
          size="small"
          value={view}
          onChange={setView}
          options={[
            { value: "all", label: t.trace.all },
            { value: "service", label: t.trace.byService },
          ]}
        />
        <Button size="small" onClick={() => setClosed(new Set())}>
          {t.trace.expand}
        </Button>
        <Button
          size="small"
          onClick={() => {
            setClosed(new Set(openable(roots)));
            setOpened(new Set());
          }}
        >
          {t.trace.collapse}
        </Button>
        <span style={{ flex: 1 }} />
        {services.map((service) => (
          <Tag
            key={service}
            variant={only === service ? "solid" : "filled"}
            color={serviceColour(service)}
            style={{ cursor: "pointer", marginInlineEnd: 0 }}
            onClick={() => setOnly(only === service ? undefined : service)}
          >
            {word(t.words.service, service)}
          </Tag>
        ))}
        <span className="soft num" data-testid="span-count">
          {t.trace.shown(count(shown.length), count(spans.length))}
        </span>
      </Flex>
      {tree.partial && (
        <div className="soft" style={{ padding: "0 16px 8px" }}>
          {t.trace.partial}
        </div>
      )}
      <div className="waterfall" data-testid="waterfall">
        <div className="wf-row wf-head">
          <span className="wf-name" style={{ paddingLeft: 16 }}>
            {t.trace.spans}
          </span>
          <span className="wf-ruler">
            {TICKS.map((tick) => (
              <span key={tick} className="num" style={{ left: `${tick * 100}%` }}>
                {micros(Math.round(tree.duration * tick))}
              </span>
            ))}
          </span>
          <span className="wf-time">{t.trace.duration}</span>
        </div>
        {shown.slice(0, most).map((row) => (
          <Line
            key={row.key}
            row={row}
            whole={tree.duration}
            selected={row.members.length === 1 && row.node.span.spanId === selected}
            onToggle={() => toggle(row)}
            onSelect={() => (row.members.length > 1 ? toggle(row) : onSelect(row.node.span))}
          />
        ))}
      </div>
      {shown.length > most && (
        <Flex justify="center" style={{ padding: 10 }}>
          <Button size="small" onClick={() => setMost(most + SHOWN)}>
            {t.trace.more}
          </Button>
        </Flex>
      )}
    </div>
  );
}

function Line({
  row,
  whole,
  selected,
  onToggle,
  onSelect,
}: {
  row: Row;
  whole: number;
  selected: boolean;
  onToggle: () => void;
  onSelect: () => void;
}) {
  const t = useTexts();
  const { span } = row.node;
  const scale = Math.max(whole, 1);
  const failed = row.errors > 0;
  return (
    <div
      className={`wf-row${selected ? " selected" : ""}${failed ? " failed" : ""}`}
      data-testid="span"
      data-service={span.service}
      data-name={span.displayName}
      data-members={row.members.length}
      onClick={onSelect}
    >
      <span className="wf-name" style={{ paddingLeft: 10 + row.depth * 14 }} title={span.displayName}>
        <button
          type="button"
          className="wf-toggle"
          style={{ visibility: row.inner > 0 ? "visible" : "hidden" }}
          aria-label={row.open ? t.trace.collapse : t.trace.expand}
          onClick={(event) => {
            event.stopPropagation();
            onToggle();
          }}
        >
          {row.open ? <CaretDownOutlined /> : <CaretRightOutlined />}
        </button>
        <span className="wf-service" style={{ background: serviceColour(span.service) }}>
          {word(t.words.service, span.service)}
        </span>
        <b>{shortName(span.displayName)}</b>
        {row.members.length > 1 && <span className="wf-count">{t.trace.same(row.members.length)}</span>}
      </span>
      <span className="wf-bars">
        {(row.members.length > 1 && !row.open ? row.members : [row]).map((bar, i) => (
          <i
            // A group shows each of its members where it ran.
            key={i}
            className="wf-bar"
            style={{
              left: `${Math.min(99.8, (bar.start / scale) * 100)}%`,
              width: `${(bar.duration / scale) * 100}%`,
              background: isFailed(bar) ? "#cf3a2f" : serviceColour(span.service),
              opacity: row.members.length > 1 ? 0.75 : 1,
            }}
          />
        ))}
      </span>
      <span className="wf-time">{micros(row.duration)}</span>
    </div>
  );
}

function isFailed(bar: Row | Row["node"]): boolean {
  return "span" in bar ? bar.span.error : bar.errors > 0;
}
