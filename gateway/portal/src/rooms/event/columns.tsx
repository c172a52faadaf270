import type { ColumnsType } from "antd/es/table";
import type { Definition } from "../../api/types";
import { Link } from "../../app/router";
import { count } from "../../format/number";
import { dateTime } from "../../format/time";
import { useLanguage, useTexts, word } from "../../i18n";
import { who } from "../campaign/columns";
import { inWords, sourcesOf } from "./wording";

export function useEventColumns(): ColumnsType<Definition> {
  const t = useTexts();
  const { language } = useLanguage();
  return [
    {
      title: t.common.name,
      key: "name",
      render: (_, d) => <Link to={`/events/${d.name.split("/")[1]}`}>{d.displayName}</Link>,
    },
    {
      title: t.events.source,
      key: "source",
      render: (_, d) =>
        sourcesOf(d.expression)
          .map((s) => word(t.words.source, s))
          .join(" · "),
    },
    {
      title: t.events.rule,
      key: "rule",
      render: (_, d) => (
        <div style={{ maxWidth: 520, whiteSpace: "normal" }} data-testid="expression">
          {inWords(d, language, t)}
        </div>
      ),
    },
    {
      title: t.events.matches,
      key: "matches",
      align: "right",
      render: (_, d) => <span className="num">{count(d.matchCount)}</span>,
    },
    { title: t.events.creator, key: "creator", render: (_, d) => who(d.creator) },
    {
      title: t.events.updated,
      key: "updated",
      render: (_, d) => <span className="num">{dateTime(d.updateTime)}</span>,
    },
  ];
}
