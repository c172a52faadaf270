import { Alert, App, AutoComplete, Button, Checkbox, Col, DatePicker, Flex, Form, Input, Radio, Row, Select } from "antd";
import dayjs, { type Dayjs } from "dayjs";
import { useRef, useState } from "react";
import { createCampaign } from "../../api/calls";
import { ApiError, requestId } from "../../api/client";
import type { Campaign } from "../../api/types";
import { navigate } from "../../app/router";
import { useSession } from "../../app/session";
import { day } from "../../format/time";
import { useLanguage, useTexts } from "../../i18n";
import { ErrorText } from "../../parts/ErrorPanel";
import { Panel, Room } from "../../parts/Room";
import { regionName, selectable } from "../../region/names";
import { idOf } from "./columns";

interface Fields {
  displayName: string;
  theme?: string;
  goal?: string;
  region: number;
  initiator?: string;
  cycle: string;
  period: [Dayjs, Dayjs];
  needDimensions?: string[];
  lifecycleStages?: string[];
  brands?: string[];
  targetDescription?: string;
  caseId?: string;
  marketingType?: string;
}

/** Names of the contract's fields, by the names the error gives. */
const CAMEL = (path: string) =>
  path.replace(/^campaign\./, "").split(/[.[]/)[0]?.replace(/_([a-z])/g, (_, c: string) => c.toUpperCase()) ?? "";

/** The head of a campaign with all its attributes (CMP-25 to CMP-34); saved as a draft. */
export function CampaignForm() {
  const t = useTexts();
  const { language } = useLanguage();
  const session = useSession();
  const { message } = App.useApp();
  const [form] = Form.useForm<Fields>();
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<ApiError>();
  // One id for one form: a second click, or a repeat after a lost answer, creates nothing twice.
  const request = useRef<{ content: string; id: string }>(undefined);
  const regions = selectable(session.regions);
  const today = dayjs(day(session.businessTime));

  const save = async (fields: Fields) => {
    setBusy(true);
    setProblem(undefined);
    const { period, ...rest } = fields;
    const campaign: Partial<Campaign> = {
      ...Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined)),
      period: { startDate: period[0].format("YYYY-MM-DD"), endDate: period[1].format("YYYY-MM-DD") },
    };
    const content = JSON.stringify(campaign);
    if (request.current?.content !== content) request.current = { content, id: requestId() };
    try {
      const made = await createCampaign(campaign, request.current.id);
      message.success(t.form.saved);
      navigate(`/campaigns/${idOf(made.name)}`);
    } catch (failure) {
      const error = failure instanceof ApiError ? failure : new ApiError(0, "PORTAL_FAULT", String(failure));
      setProblem(error);
      const known = new Set(Object.keys(form.getFieldsValue()));
      form.setFields(
        error.fields
          .map((f) => ({ name: CAMEL(f.field) as keyof Fields, errors: [t.form.fieldWrong] }))
          .filter((f) => known.has(f.name)),
      );
    } finally {
      setBusy(false);
    }
  };

  const required = [{ required: true, message: t.common.required }];
  const options = (words: Record<string, string>) =>
    Object.entries(words).map(([value, label]) => ({ value, label }));
  return (
    <Room title={t.form.title} lead={t.form.lead}>
      <Form<Fields>
        form={form}
        layout="vertical"
        onFinish={save}
        scrollToFirstError
        initialValues={{
          region: regions[0],
          cycle: "CYCLE_ONE_OFF",
          period: [today, today.add(29, "day")],
        }}
        style={{ maxWidth: 980 }}
      >
        <div className="stack">
          {problem && (
            <Alert
              type="error"
              showIcon
              title={t.error.actionTitle}
              description={<ErrorText error={problem} />}
              data-testid="form-error"
            />
          )}
          <Panel title={t.form.basic}>
            <Row gutter={20}>
              <Col xs={24} md={14}>
                <Form.Item name="displayName" label={t.form.displayName} rules={required}>
                  <Input maxLength={100} showCount data-testid="displayName" />
                </Form.Item>
              </Col>
              <Col xs={24} md={10}>
                <Form.Item name="theme" label={t.form.theme}>
                  <AutoComplete
                    options={t.form.themes.map((value) => ({ value }))}
                    placeholder={t.form.themePlaceholder}
                    maxLength={200}
                  />
                </Form.Item>
              </Col>
              <Col span={24}>
                <Form.Item name="goal" label={t.form.goal}>
                  <Input.TextArea maxLength={1000} autoSize={{ minRows: 2, maxRows: 6 }} placeholder={t.form.goalPlaceholder} />
                </Form.Item>
              </Col>
            </Row>
          </Panel>
          <Panel title={t.form.scope}>
            <Row gutter={20}>
              <Col xs={24} md={8}>
                <Form.Item name="region" label={t.form.region} rules={required}>
                  <Select
                    options={regions.map((code) => ({ value: code, label: regionName(code, language) }))}
                    showSearch={{ optionFilterProp: "label" }}
                  />
                </Form.Item>
              </Col>
              <Col xs={24} md={8}>
                <Form.Item name="initiator" label={t.form.initiator}>
                  <Input maxLength={100} />
                </Form.Item>
              </Col>
              <Col xs={24} md={8}>
                <Form.Item name="period" label={t.form.period} rules={required}>
                  <DatePicker.RangePicker style={{ width: "100%" }} allowClear={false} />
                </Form.Item>
              </Col>
              <Col span={24}>
                <Form.Item name="cycle" label={t.form.cycle} rules={required}>
                  <Radio.Group
                    optionType="button"
                    options={options(t.words.cycle).filter((o) => o.value !== "CYCLE_UNSPECIFIED")}
                  />
                </Form.Item>
              </Col>
            </Row>
          </Panel>
          <Panel title={t.form.focus}>
            <Row gutter={20}>
              <Col xs={24} md={8}>
                <Form.Item name="needDimensions" label={t.form.needDimensions}>
                  <Checkbox.Group options={options(t.words.need)} />
                </Form.Item>
              </Col>
              <Col xs={24} md={16}>
                <Form.Item name="lifecycleStages" label={t.form.lifecycleStages}>
                  <Checkbox.Group options={options(t.words.lifecycleStage)} />
                </Form.Item>
              </Col>
              <Col xs={24} md={24}>
                <Form.Item name="brands" label={t.form.brands} extra={t.form.brandsHint}>
                  <Checkbox.Group options={options(t.words.brand)} />
                </Form.Item>
              </Col>
              <Col span={24}>
                <Form.Item name="targetDescription" label={t.form.targetDescription}>
                  <Input.TextArea maxLength={1000} autoSize={{ minRows: 2, maxRows: 6 }} />
                </Form.Item>
              </Col>
              <Col xs={24} md={12}>
                <Form.Item name="caseId" label={t.form.caseId} extra={t.form.caseHint}>
                  <Input maxLength={40} />
                </Form.Item>
              </Col>
              <Col xs={24} md={12}>
                <Form.Item name="marketingType" label={t.form.marketingType} extra={t.form.marketingTypeHint}>
                  <Input maxLength={40} />
                </Form.Item>
              </Col>
            </Row>
          </Panel>
          <Flex gap={10}>
            <Button type="primary" htmlType="submit" loading={busy} data-testid="save-draft">
              {t.form.saveDraft}
            </Button>
            <Button onClick={() => navigate("/campaigns")}>{t.common.cancel}</Button>
          </Flex>
        </div>
      </Form>
    </Room>
  );
}
