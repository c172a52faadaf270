import { MenuFoldOutlined, MenuUnfoldOutlined, PlusOutlined, UserOutlined } from "@ant-design/icons";
import { Button, Drawer, Grid, Layout, Menu, Popover, Result, Skeleton, Tag, Tooltip } from "antd";
import type { MenuProps } from "antd";
import { type ReactNode, Suspense, useEffect, useMemo, useState } from "react";
import { getSession } from "../api/calls";
import { signOut } from "../api/client";
import { useQuery } from "../api/useQuery";
import { dateTime } from "../format/time";
import { useLanguage, useTexts, word } from "../i18n";
import { regionName } from "../region/names";
import { type Entry, ROUTES, crumbs, menuTree } from "./places";
import { Link, match, navigate, usePlace } from "./router";
import { useSession } from "./session";

const CLOCK_MS = 10_000;
const OPEN = [
  "information", "user-centre", "resource-centre", "strategy", "marketing-centre", "touchpoint", "touchpoint-centre",
  "boards",
];

/** Menu on the left, who and where above, the page below. */
export function Frame({ onSignedOut }: { onSignedOut: () => void }) {
  const t = useTexts();
  const { path } = usePlace();
  const wide = Grid.useBreakpoint().lg ?? true;
  const [folded, setFolded] = useState(false);
  const [drawer, setDrawer] = useState(false);
  useEffect(() => setDrawer(false), [path]);

  const found = ROUTES.map((route) => ({ route, values: match(route.pattern, path) })).find((r) => r.values);
  const trail = found ? crumbs(menuTree(t.menu), found.route.entry) : [];
  const side = <Side folded={wide && folded} entry={found?.route.entry ?? ""} />;
  return (
    <Layout style={{ minHeight: "100vh" }}>
      {wide ? (
        <Layout.Sider className="frame-sider" theme="light" width={228} collapsedWidth={60} collapsed={folded} trigger={null}>
          {side}
        </Layout.Sider>
      ) : (
        <Drawer
          open={drawer}
          onClose={() => setDrawer(false)}
          placement="left"
          size={250}
          closable={false}
          styles={{ body: { padding: 0, display: "flex", flexDirection: "column" } }}
        >
          {side}
        </Drawer>
      )}
      <Layout style={{ minWidth: 0 }}>
        <Layout.Header className="frame-header">
          <Button
            type="text"
            aria-label={t.frame.menu}
            icon={wide && !folded ? <MenuFoldOutlined /> : <MenuUnfoldOutlined />}
            onClick={() => (wide ? setFolded(!folded) : setDrawer(true))}
          />
          <div className="crumbs" data-testid="crumbs">
            {trail.map((label, i) => (
              <span key={label + i}>
                {i > 0 && " / "}
                {i === trail.length - 1 ? <b>{label}</b> : label}
              </span>
            ))}
          </div>
          <Facts onSignedOut={onSignedOut} />
        </Layout.Header>
        <Layout.Content>
          {found?.values ? (
            <Guarded roles={found.route.roles}>
              <Suspense fallback={<Skeleton active style={{ padding: 24 }} />}>{found.route.page(found.values)}</Suspense>
            </Guarded>
          ) : (
            <Result
              status="404"
              title={t.common.notFoundTitle}
              subTitle={t.common.notFoundText}
              extra={<Link to="/">{t.frame.home}</Link>}
            />
          )}
        </Layout.Content>
      </Layout>
    </Layout>
  );
}

function Guarded({ roles, children }: { roles?: string[]; children: ReactNode }) {
  const t = useTexts();
  const held = useSession().roles;
  if (!roles || held.includes("admin") || roles.some((role) => held.includes(role))) return children;
  const names = roles.map((role) => word(t.words.role, role)).join(" · ");
  return (
    <Result
      status="403"
      data-testid="forbidden"
      title={t.common.forbiddenTitle}
      subTitle={t.common.forbiddenText(names)}
    />
  );
}

function Side({ folded, entry }: { folded: boolean; entry: string }) {
  const t = useTexts();
  const held = useSession().roles;
  const [open, setOpen] = useState(OPEN);
  const may = (roles?: string[]) => !roles || held.includes("admin") || roles.some((role) => held.includes(role));
  const items = useMemo(() => {
    const item = (e: Entry): NonNullable<MenuProps["items"]>[number] =>
      e.children
        ? { key: e.key, label: e.label, icon: e.icon, children: e.children.filter((c) => may(c.roles)).map(item) }
        : { key: e.key, label: <Link to={e.key}>{e.label}</Link>, icon: e.icon, title: e.label };
    return menuTree(t.menu)
      .filter((e) => may(e.roles))
      .map(item);
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [t, held]);
  return (
    <>
      <Link to="/" className="brand" aria-label={t.product}>
        <img src="/icon.svg" alt="" />
        {!folded && t.brand}
      </Link>
      {may(["planner", "campus_manager"]) && (
        <div className="market">
          <Tooltip title={folded ? t.frame.market : ""} placement="right">
            <Button
              type="primary"
              block
              icon={<PlusOutlined />}
              data-testid="market"
              onClick={() => navigate("/campaigns/new")}
            >
              {folded ? "" : t.frame.market}
            </Button>
          </Tooltip>
        </div>
      )}
      <nav className="frame-menu" aria-label={t.frame.menu}>
        <Menu
          mode="inline"
          inlineIndent={16}
          inlineCollapsed={folded}
          selectedKeys={[entry]}
          {...(folded ? {} : { openKeys: open, onOpenChange: setOpen })}
          items={items}
        />
      </nav>
    </>
  );
}

/** Business clock, data scope, language and account. */
function Facts({ onSignedOut }: { onSignedOut: () => void }) {
  const t = useTexts();
  const { language, setLanguage } = useLanguage();
  const session = useSession();
  const clock = useQuery("session", (signal) => getSession(signal), CLOCK_MS);
  const regions = session.regions.map((code) => regionName(code, language)).join(" · ") || t.common.none;
  const roles = session.roles.map((role) => word(t.words.role, role));
  const leave = async () => {
    try {
      await signOut();
    } finally {
      onSignedOut();
      navigate("/", true);
    }
  };
  const card = (
    <div>
      <dl className="account-card" style={{ margin: "0 0 12px" }}>
        <dt>{t.frame.account}</dt>
        <dd>{session.subject.replace(/^user:/, "")}</dd>
        <dt>{t.frame.roles}</dt>
        <dd>{roles.join(" · ")}</dd>
        <dt>{t.frame.dataScope}</dt>
        <dd>{regions}</dd>
        <dt>{t.frame.version}</dt>
        <dd data-testid="version">{session.version}</dd>
      </dl>
      <Button block onClick={leave} data-testid="sign-out">
        {t.frame.signOut}
      </Button>
    </div>
  );
  return (
    <>
      <span className="fact wide">
        {t.frame.businessTime}{" "}
        <b className="num" data-testid="clock">
          {dateTime(clock.data?.businessTime ?? session.businessTime)}
        </b>
      </span>
      <span className="fact wide" data-testid="scope">
        {t.frame.dataScope} <b>{regions}</b>
      </span>
      <span className="fact wide">
        {t.frame.version} <b>{session.version}</b>
      </span>
      <Button
        size="small"
        type="text"
        data-testid="language"
        onClick={() => setLanguage(language === "zh" ? "en" : "zh")}
      >
        {t.frame.language}
      </Button>
      <Popover content={card} trigger="click" placement="bottomRight">
        <button type="button" className="account" data-testid="account">
          <UserOutlined />
          <span>{accountName(session.subject, session.displayName, language)}</span>
          <span className="wide">
            {roles.slice(0, 2).map((role) => (
              <Tag key={role} variant="filled" color="blue" style={{ marginInlineEnd: 0, marginInlineStart: 4 }}>
                {role}
              </Tag>
            ))}
          </span>
        </button>
      </Popover>
    </>
  );
}

/** People's names are Chinese here; in English the account stands for the person. */
function accountName(subject: string, displayName: string, language: "zh" | "en"): string {
  const account = subject.replace(/^user:/, "");
  return language === "zh" ? displayName || account : account;
}
