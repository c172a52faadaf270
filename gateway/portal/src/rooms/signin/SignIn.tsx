import { Alert, Button, Flex, Form, Input, Skeleton, Typography } from "antd";
import { useState } from "react";
import { ApiError, authConfig, signIn } from "../../api/client";
import { useQuery } from "../../api/useQuery";
import { useLanguage, useTexts } from "../../i18n";
import { ErrorPanel, ErrorText } from "../../parts/ErrorPanel";

/** Sign-in by password of the built-in issuer, or through the operator's 4A portal (POR-19). */
export function SignIn({ expired, onSignedIn }: { expired: boolean; onSignedIn: () => Promise<void> }) {
  const t = useTexts();
  const { language, setLanguage } = useLanguage();
  const config = useQuery("auth-config", () => authConfig());
  return (
    <div className="signin">
      <section className="signin-story">
        <Flex align="center" gap={10} style={{ fontSize: 16, fontWeight: 600 }}>
          <img src="/icon.svg" alt="" width={30} height={30} />
          {t.productShort}
        </Flex>
        <div>
          <h2>{t.product}</h2>
          <p>{t.signIn.lead}</p>
          <ul>
            {t.signIn.points.map((point) => (
              <li key={point}>{point}</li>
            ))}
          </ul>
        </div>
        <span />
      </section>
      <main className="signin-box">
        <Flex justify="end">
          <Button type="text" data-testid="language" onClick={() => setLanguage(language === "zh" ? "en" : "zh")}>
            {t.frame.language}
          </Button>
        </Flex>
        {config.error ? (
          <div className="signin-card">
            <ErrorPanel error={config.error} retry={config.reload} title={t.signIn.unavailable} />
          </div>
        ) : config.data === undefined ? (
          <div className="signin-card">
            <Skeleton active />
          </div>
        ) : config.data.mode === "oidc" ? (
          <div className="signin-card">
            <Typography.Title level={3}>{t.signIn.title}</Typography.Title>
            {expired && <Alert type="info" showIcon title={t.signIn.expired} style={{ marginBottom: 16 }} />}
            <Typography.Paragraph type="secondary">{t.signIn.oidcText}</Typography.Paragraph>
            <Button type="primary" block size="large" href="/auth/login" data-testid="oidc">
              {t.signIn.oidc}
            </Button>
          </div>
        ) : (
          <PasswordForm expired={expired} onSignedIn={onSignedIn} />
        )}
      </main>
    </div>
  );
}

function PasswordForm({ expired, onSignedIn }: { expired: boolean; onSignedIn: () => Promise<void> }) {
  const t = useTexts();
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<ApiError>();
  const submit = async ({ username, password }: { username: string; password: string }) => {
    setBusy(true);
    setProblem(undefined);
    try {
      await signIn(username.trim(), password);
      await onSignedIn();
    } catch (failure) {
      setProblem(failure instanceof ApiError ? failure : new ApiError(0, "PORTAL_FAULT", String(failure)));
    } finally {
      setBusy(false);
    }
  };
  const wrong = problem?.status === 401;
  return (
    <Form layout="vertical" onFinish={submit} requiredMark={false} size="large">
      <Typography.Title level={3} style={{ marginBottom: 20 }}>
        {t.signIn.title}
      </Typography.Title>
      {expired && !problem && (
        <Alert type="info" showIcon title={t.signIn.expired} style={{ marginBottom: 16 }} />
      )}
      {problem && (
        <Alert
          type="error"
          showIcon
          data-testid="signin-error"
          style={{ marginBottom: 16 }}
          title={wrong ? t.signIn.wrong : t.signIn.unavailable}
          description={wrong ? undefined : <ErrorText error={problem} />}
        />
      )}
      <Form.Item name="username" label={t.signIn.user} rules={[{ required: true, message: t.common.required }]}>
        <Input autoComplete="username" autoFocus data-testid="username" />
      </Form.Item>
      <Form.Item name="password" label={t.signIn.password} rules={[{ required: true, message: t.common.required }]}>
        <Input.Password autoComplete="current-password" data-testid="password" />
      </Form.Item>
      <Button type="primary" htmlType="submit" block loading={busy} data-testid="sign-in">
        {t.signIn.submit}
      </Button>
    </Form>
  );
}
