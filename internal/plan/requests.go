package plan

// requests decides about the requests of members on the CA host. Each request gets an answer, a refusal too.
func requests(a *assessment) (found finding) {
	members, box := a.obs.CA.Members, a.obs.Inbox
	if len(members) == 0 && len(box.Pending) == 0 && len(box.Stale) == 0 && box.Fades.IsZero() && box.Unread == nil {
		return found
	}
	if box.Err != nil {
		found.report(Problem{Reason: InboxDue, Severity: Error, Path: a.cfg.CA.Inbox, Text: box.Err.Error()})
		return found
	}
	if len(members) > 0 && (!box.Exists || box.Loose != "") {
		text := "the inbox for members is missing"
		if box.Exists {
			text = box.Loose
		}
		if a.obs.Account.Missing {
			found.report(Problem{Reason: AccountMissing, Severity: Error, Path: a.cfg.CA.Inbox,
				Text: "there is no user " + a.obs.Account.Name + " for members to log in as",
				Hint: "run the command that `mailcertd ca enrol` prints, which makes it"})
			return found
		}
		found.report(Problem{Reason: InboxDue, Severity: Warning, Path: a.cfg.CA.Inbox, Repairable: true, Text: text})
		found.do(Action{Kind: MakeInbox, Reason: InboxDue, Path: a.cfg.CA.Inbox,
			Text: toCreate.With("the inbox for members")})
		return found
	}
	if box.Unread != nil {
		found.report(Problem{Reason: InboxDue, Severity: Error, Path: a.cfg.CA.Inbox,
			Text: "a part of it cannot be read, so a member may get no answer: " + box.Unread.Error()})
	}
	if box.Crowded {
		found.report(Problem{Reason: InboxDue, Severity: Error, Path: a.cfg.CA.Inbox,
			Text: "contains so many files that members may get no answer: somebody uses the account " +
				a.cfg.CA.Account +
				" for more than the forced command",
			Hint: "empty " + a.cfg.CA.Inbox + "/in, and check that account's authorized_keys and shell"})
	}
	found.lookAt(box.Fades, "an answer or a request in the inbox that nobody has fetched is removed")
	if n := len(box.Pending); n > 0 {
		hold := ""
		if a.clock != clockFine {
			hold = "the clock of the CA host may be wrong"
		}
		found.do(Action{Kind: Answer, Reason: InboxRequest, Path: a.cfg.CA.Inbox, Hold: hold,
			Text: toAnswer.With(counted(n, "request") + " of members")})
	} else if len(box.Stale) > 0 {
		found.do(Action{Kind: Answer, Reason: InboxRequest, Path: a.cfg.CA.Inbox,
			Text: toRemove.With("outdated files from the inbox")})
	}
	return found
}
