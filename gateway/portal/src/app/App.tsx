import { App as AntApp, ConfigProvider, Flex, Spin } from "antd";
import enUS from "antd/locale/en_US";
import zhCN from "antd/locale/zh_CN";
import dayjs from "dayjs";
import "dayjs/locale/zh-cn";
import { Suspense, lazy, useCallback, useEffect, useState } from "react";
import { getSession } from "../api/calls";
import { ApiError, whenSignedOut } from "../api/client";
import type { Session } from "../api/types";
import { setTimeZone } from "../format/time";
import { LanguageProvider, useLanguage } from "../i18n";
import { ErrorPanel } from "../parts/ErrorPanel";
import { Router } from "./router";
import { SessionContext } from "./session";
import { THEME } from "./theme";

const SignIn = lazy(() => import("../rooms/signin/SignIn").then((m) => ({ default: m.SignIn })));
const Frame = lazy(() => import("./Frame").then((m) => ({ default: m.Frame })));

export function App() {
  return (
    <LanguageProvider>
      <Themed />
    </LanguageProvider>
  );
}

function Themed() {
  const { language } = useLanguage();
  dayjs.locale(language === "zh" ? "zh-cn" : "en");
  return (
    <ConfigProvider locale={language === "zh" ? zhCN : enUS} theme={THEME} componentSize="middle">
      <AntApp>
        <Router>
          <Suspense fallback={<Waiting />}>
            <Gate />
          </Suspense>
        </Router>
      </AntApp>
    </ConfigProvider>
  );
}

function Waiting() {
  return (
    <Flex align="center" justify="center" style={{ height: "100vh" }}>
      <Spin size="large" />
    </Flex>
  );
}

/** Shows the portal to whoever is signed in, the sign-in page to everybody else. */
function Gate() {
  const [session, setSession] = useState<Session | null | undefined>(undefined);
  const [problem, setProblem] = useState<ApiError>();
  const [expired, setExpired] = useState(false);

  const look = useCallback(async () => {
    setProblem(undefined);
    try {
      const found = await getSession();
      setTimeZone(found.timeZone);
      setSession(found);
      setExpired(false);
    } catch (failure) {
      if (failure instanceof ApiError && failure.status === 401) {
        setExpired(failure.reason === "TOKEN_EXPIRED");
        setSession(null);
      } else setProblem(failure instanceof ApiError ? failure : new ApiError(0, "PORTAL_FAULT", String(failure)));
    }
  }, []);

  useEffect(() => {
    whenSignedOut(() =>
      setSession((old) => {
        if (old) setExpired(true);
        return null;
      }),
    );
    void look();
  }, [look]);

  if (problem)
    return (
      <div style={{ maxWidth: 640, margin: "15vh auto" }}>
        <ErrorPanel error={problem} retry={look} />
      </div>
    );
  if (session === undefined) return <Waiting />;
  if (session === null) return <SignIn expired={expired} onSignedIn={look} />;
  return (
    <SessionContext.Provider value={session}>
      <Frame
        onSignedOut={() => {
          setExpired(false);
          setSession(null);
        }}
      />
    </SessionContext.Provider>
  );
}
