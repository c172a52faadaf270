// Calls of the gateway. Every failure becomes an ApiError that a person can act on.

export interface FieldProblem {
  field: string;
  description: string;
}

/** What the gateway answers instead of a result; `reason` is a name of the contracts' ErrorReason. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly reason: string,
    message: string,
    readonly fields: FieldProblem[] = [],
    readonly traceId = "",
  ) {
    super(message);
  }
}

type Query = Record<string, string | number | boolean | undefined | (string | number)[]>;

interface Detail {
  "@type"?: string;
  reason?: string;
  fieldViolations?: { field?: string; description?: string }[];
}

interface ErrorBody {
  error?: { code?: number; status?: string; message?: string; details?: Detail[] };
}

let onSignedOut: () => void = () => undefined;

/** Called when an answer says that nobody is signed in any more. */
export function whenSignedOut(handler: () => void): void {
  onSignedOut = handler;
}

/** `path` below /api, such as `campaign/v1/campaigns`. */
export function get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
  return call<T>("GET", `/api/${path}${queryText(query)}`, undefined, signal);
}

export function post<T>(path: string, body: object = {}, query: Query = {}): Promise<T> {
  return call<T>("POST", `/api/${path}${queryText(query)}`, body);
}

export function put<T>(path: string, body: object): Promise<T> {
  return call<T>("PUT", `/api/${path}`, body);
}

export async function signIn(username: string, password: string): Promise<void> {
  await call("POST", "/auth/signin", { username, password }, undefined, false);
}

export async function signOut(): Promise<void> {
  await call("POST", "/auth/signout", {}, undefined, false);
}

export function authConfig(): Promise<{ mode: "password" | "oidc" }> {
  return call("GET", "/auth/config", undefined, undefined, false);
}

/** Makes a repeat of a mutation harmless. Randomness of the browser also where crypto.randomUUID is absent. */
export function requestId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}

export function queryText(query: Query): string {
  const found = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value === undefined || value === "" || value === false) continue;
    for (const one of Array.isArray(value) ? value : [value]) found.append(key, String(one));
  }
  const text = found.toString();
  return text ? `?${text}` : "";
}

async function call<T>(
  method: string,
  url: string,
  body?: object,
  signal?: AbortSignal,
  session = true,
): Promise<T> {
  let response: Response;
  try {
    response = await fetch(url, {
      method,
      signal,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (problem) {
    if (problem instanceof DOMException && problem.name === "AbortError") throw problem;
    throw new ApiError(0, "GATEWAY_UNREACHABLE", String(problem));
  }
  if (response.ok) return (await response.json()) as T;
  const failure = errorOf(
    response.status,
    await response.json().catch(() => ({})),
    response.headers.get("X-Trace-Id") ?? "",
  );
  if (session && response.status === 401) onSignedOut();
  throw failure;
}

/** The error of an answer's body. */
export function errorOf(status: number, body: ErrorBody, traceId: string): ApiError {
  const error = body.error ?? {};
  let reason = "";
  const fields: FieldProblem[] = [];
  for (const detail of error.details ?? []) {
    if (detail.reason) reason = detail.reason;
    for (const violation of detail.fieldViolations ?? []) {
      fields.push({ field: violation.field ?? "", description: violation.description ?? "" });
    }
  }
  return new ApiError(status, reason || error.status || `HTTP_${status}`, error.message ?? "", fields, traceId);
}
