import { Input } from "antd";
import { listEvaluated } from "../../api/calls";
import type { EvaluatedActivity } from "../../api/types";
import { Link, navigate, setQuery, usePlace } from "../../app/router";
import { dateTime } from "../../format/time";
import { useLanguage, useTexts } from "../../i18n";
import { PagedTable } from "../../parts/PagedTable";
import { Panel, Room } from "../../parts/Room";
import { regionName } from "../../region/names";

/** Activities that can be evaluated, found by name (EVA-03, EVA-04). */
export function EvaluationList() {
  const t = useTexts();
  const { language } = useLanguage();
  const search = usePlace().query.get("query") ?? "";
  return (
    <Room
      title={t.evaluation.title}
      actions={
        <Input.Search
          key={search}
          defaultValue={search}
          allowClear
          style={{ width: 260 }}
          placeholder={t.evaluation.search}
          onSearch={(query) => setQuery({ query })}
        />
      }
    >
      <Panel flush testId="evaluated">
        <PagedTable<EvaluatedActivity>
          name={`evaluated|${search}`}
          read={(page, signal) => listEvaluated({ ...page, query: search }, signal)}
          rowKey={(a) => String(a.activityNumber)}
          onRow={(a) => navigate(`/evaluation/${a.activityNumber}`)}
          empty={{ title: t.evaluation.none, text: t.evaluation.noneText }}
          columns={[
            {
              title: t.evaluation.activity,
              key: "name",
              render: (_, a) => <Link to={`/evaluation/${a.activityNumber}`}>{a.displayName}</Link>,
            },
            {
              title: t.evaluation.campaign,
              key: "campaign",
              render: (_, a) => <Link to={`/campaigns/${a.activity.split("/")[1]}`}>{a.campaignDisplayName}</Link>,
            },
            { title: t.campaigns.region, key: "region", render: (_, a) => regionName(a.region, language) },
            { title: t.campaigns.caseId, key: "case", render: (_, a) => a.caseId || "–" },
            {
              title: t.evaluation.launch,
              key: "launch",
              render: (_, a) => <span className="num">{dateTime(a.launchTime)}</span>,
            },
            {
              title: "",
              key: "open",
              render: (_, a) => <Link to={`/evaluation/${a.activityNumber}`}>{t.evaluation.evaluate}</Link>,
            },
          ]}
        />
      </Panel>
    </Room>
  );
}
