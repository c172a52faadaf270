import { Checkbox, Flex, Input, Select } from "antd";
import { useEffect, useState } from "react";
import { listCampaigns, listTraces } from "../../api/calls";
import type { TraceSummary } from "../../api/types";
import { useQuery } from "../../api/useQuery";
import { navigate, setQuery, usePlace } from "../../app/router";
import { useTexts } from "../../i18n";
import { PagedTable } from "../../parts/PagedTable";
import { Panel, Room } from "../../parts/Room";
import { idOf } from "../campaign/columns";
import { traceId, useTraceColumns } from "./columns";
import { wantedOf } from "./search";

/** Traces by campaign, trace id, touch id, service or failure. */
export function Traces() {
  const t = useTexts();
  const { query } = usePlace();
  const columns = useTraceColumns();
  const filter = {
    campaign: query.get("campaign") ?? "",
    touchId: query.get("touch") ?? "",
    service: query.get("service") ?? "",
    failed: query.get("failed") === "1",
  };
  const [typed, setTyped] = useState(filter.touchId || filter.campaign);
  useEffect(() => setTyped(filter.touchId || filter.campaign), [filter.touchId, filter.campaign]);
  const campaigns = useQuery("trace-campaigns", async (signal) => (await listCampaigns({ pageSize: 100 }, signal)).rows);

  const go = (text: string) => {
    const wanted = wantedOf(text);
    if (wanted && "trace" in wanted) navigate(`/traces/${wanted.trace}`);
    else if (wanted && "touch" in wanted) setQuery({ touch: wanted.touch, campaign: undefined }, false);
    else setQuery({ campaign: wanted?.campaign, touch: undefined }, false);
  };
  // The service takes the first of these that is set: what is shown is what was asked.
  const asked = filter.touchId ? { touchId: filter.touchId } : filter;
  return (
    <Room title={t.trace.title} lead={t.trace.lead}>
      <Panel
        flush
        testId="traces"
        title={
          <Flex gap={8} wrap align="center">
            <Input.Search
              style={{ width: 340, maxWidth: "100%" }}
              allowClear
              placeholder={t.trace.search}
              value={typed}
              onChange={(e) => setTyped(e.target.value)}
              onSearch={go}
              enterButton={t.trace.go}
              data-testid="trace-search"
            />
            <Select
              allowClear
              style={{ width: 230 }}
              placeholder={t.trace.campaign}
              value={filter.campaign || undefined}
              onChange={(campaign) => setQuery({ campaign, touch: undefined }, false)}
              showSearch={{ optionFilterProp: "label" }}
              options={(campaigns.data ?? []).map((c) => ({ value: idOf(c.name), label: c.displayName }))}
            />
            <Select
              allowClear
              style={{ width: 130 }}
              placeholder={t.trace.service}
              value={filter.service || undefined}
              onChange={(service) => setQuery({ service }, false)}
              options={Object.entries(t.words.service).map(([value, label]) => ({ value, label }))}
            />
            <Checkbox
              checked={filter.failed}
              onChange={(e) => setQuery({ failed: e.target.checked ? "1" : undefined }, false)}
            >
              <span style={{ fontWeight: 400 }}>{t.trace.failedOnly}</span>
            </Checkbox>
          </Flex>
        }
      >
        <PagedTable<TraceSummary>
          name={`traces|${JSON.stringify(asked)}`}
          read={(page, signal) =>
            listTraces({ ...page, ...asked, campaign: filter.campaign && `campaigns/${filter.campaign}` }, signal)
          }
          columns={columns}
          rowKey={(s) => s.name}
          pageSize={30}
          onRow={(s) => navigate(`/traces/${traceId(s.name)}`)}
          empty={{ title: t.trace.none, text: t.trace.noneText }}
        />
      </Panel>
    </Room>
  );
}
