import { useState } from "react";
import { Input } from "antd";
import { listTags } from "../../api/calls";
import type { Tag } from "../../api/types";
import { useQuery } from "../../api/useQuery";
import { Link, navigate } from "../../app/router";
import { count, toNumber } from "../../format/number";
import { named, useLanguage, useTexts, word } from "../../i18n";
import { Loaded } from "../../parts/Loaded";
import { Panel } from "../../parts/Room";

const CLASSES = ["TAG_CLASS_BASIC", "TAG_CLASS_BEHAVIOUR", "TAG_CLASS_SCENARIO"];
const POLL_MS = 30_000;
const SHOWN = 8;

interface TagState {
  classes: { tagClass: string; total: number }[];
  used: Tag[];
}

/** Totals by class, and every tag that was used, most used first (POR-15, POR-17). */
async function tagState(signal: AbortSignal): Promise<TagState> {
  const classes = await Promise.all(
    CLASSES.map(async (tagClass) => ({
      tagClass,
      total: (await listTags({ tagClass, pageSize: 1 }, signal)).total ?? 0,
    })),
  );
  const used: Tag[] = [];
  let pageToken = "";
  do {
    const page = await listTags({ orderBy: "usage desc", pageSize: 50, pageToken }, signal);
    const some = page.rows.filter((tag) => toNumber(tag.usageCount) > 0);
    used.push(...some);
    // They come in order of use: the first one that was never used ends the list.
    pageToken = some.length === page.rows.length ? page.next : "";
  } while (pageToken);
  return { classes, used };
}

export function Tags() {
  const t = useTexts();
  const { language } = useLanguage();
  const query = useQuery("tag-state", tagState, POLL_MS);
  const [keyword, setKeyword] = useState("");
  const look = () => navigate(`/users/research${keyword ? `?query=${encodeURIComponent(keyword)}` : ""}`);
  return (
    <Panel title={t.board.tags} extra={<Link to="/users/research">{t.menu.research}</Link>} testId="tags">
      <Input.Search
        size="small"
        value={keyword}
        placeholder={t.research.keyword}
        onChange={(e) => setKeyword(e.target.value)}
        onSearch={look}
        style={{ marginBottom: 12 }}
      />
      <Loaded query={query}>
        {({ classes, used }) => (
          <>
            <div className="lines" style={{ marginBottom: 14 }}>
              <div className="line">
                <span>{t.board.tagTotal}</span>
                <b className="num" data-testid="tag-total">
                  {count(classes.reduce((n, c) => n + c.total, 0))}
                </b>
              </div>
              {classes.map((c) => (
                <div className="line soft" key={c.tagClass}>
                  <span>{word(t.words.tagClass, c.tagClass)}</span>
                  <span className="num">{count(c.total)}</span>
                </div>
              ))}
              <div className="line">
                <span>{t.board.tagUsed}</span>
                <b className="num">{count(used.length)}</b>
              </div>
              <div className="line">
                <span>{t.board.tagUse}</span>
                <b className="num">{count(used.reduce((n, tag) => n + toNumber(tag.usageCount), 0))}</b>
              </div>
            </div>
            <div className="soft" style={{ marginBottom: 8 }}>
              {t.board.topTags}
            </div>
            {used.length === 0 && <span className="soft">{t.board.topTagsNone}</span>}
            <div className="lines" data-testid="top-tags">
              {used.slice(0, SHOWN).map((tag) => (
                <div className="line" key={tag.code}>
                  <Link to={`/users/research?query=${encodeURIComponent(tag.code)}`} className="cut">
                    {named(language, tag.displayName, tag.displayNameEn)}
                  </Link>
                  <span className="num soft">{t.board.times(count(tag.usageCount))}</span>
                  <div className="meter">
                    <i style={{ width: `${(toNumber(tag.usageCount) / toNumber(used[0]?.usageCount)) * 100}%` }} />
                  </div>
                </div>
              ))}
            </div>
          </>
        )}
      </Loaded>
    </Panel>
  );
}
