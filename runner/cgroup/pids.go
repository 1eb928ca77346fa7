package cgroup

// Both versions: pids.max; pids.events; pids.peak since Linux 6.8 (6.1 on v2 has none).

func pidsWanted(l *Limits) bool { return l.Processes > 0 }

func pidsBoth(l *Limits) ([]setting, error) {
	return []setting{{file: "pids.max", value: itoa(l.Processes)}}, nil
}

func pidsUsage(d *dir, u *Usage) {
	u.ProcessesPeak = number(d.fd, "pids.peak")
	if text, err := readAt(d.fd, "pids.events"); err == nil {
		if n, ok := keyed(text, "max"); ok {
			u.ProcessesRefused = &n
		}
	}
}
