import { createContext, useContext } from "react";
import type { Session } from "../api/types";

export const SessionContext = createContext<Session | null>(null);

/** Who is signed in; only used below the sign-in gate. */
export function useSession(): Session {
  const session = useContext(SessionContext);
  if (session === null) throw new Error("nobody is signed in here");
  return session;
}

/** Whether one of the roles is held; `admin` passes as it does in the services. */
export function useMay(...roles: string[]): boolean {
  const held = useSession().roles;
  return held.includes("admin") || roles.some((role) => held.includes(role));
}
