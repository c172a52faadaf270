import type { ColumnsType } from "antd/es/table";
import type { Campaign } from "../../api/types";
import { Link } from "../../app/router";
import { dateTime } from "../../format/time";
import { useLanguage, useTexts } from "../../i18n";
import { CampaignStateTag } from "../../parts/tags";
import { regionName } from "../../region/names";

/** `campaigns/abc` -> `abc`. */
export const idOf = (name: string): string => name.split("/")[1] ?? "";
/** `user:planner` -> `planner`. */
export const who = (subject: string): string => subject.replace(/^(user|service):/, "") || "–";

export function useCampaignColumns(): ColumnsType<Campaign> {
  const t = useTexts();
  const { language } = useLanguage();
  return [
    {
      title: t.common.name,
      key: "name",
      render: (_, c) => <Link to={`/campaigns/${idOf(c.name)}`}>{c.displayName}</Link>,
    },
    { title: t.common.state, key: "state", render: (_, c) => <CampaignStateTag state={c.state} /> },
    { title: t.campaigns.region, key: "region", render: (_, c) => regionName(c.region, language) },
    { title: t.campaigns.theme, key: "theme", render: (_, c) => c.theme || "–" },
    {
      title: t.campaigns.period,
      key: "period",
      render: (_, c) => (
        <span className="num">{c.period ? `${c.period.startDate} – ${c.period.endDate}` : "–"}</span>
      ),
    },
    { title: t.campaigns.caseId, key: "case", render: (_, c) => c.caseId || "–" },
    { title: t.campaigns.author, key: "author", render: (_, c) => who(c.author) },
    {
      title: t.campaigns.launched,
      key: "launched",
      render: (_, c) => <span className="num">{dateTime(c.launchTime)}</span>,
    },
    {
      title: t.campaigns.updated,
      key: "updated",
      render: (_, c) => <span className="num">{dateTime(c.updateTime)}</span>,
    },
  ];
}
