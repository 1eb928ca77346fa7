package seccomp

import (
	"errors"
	"strconv"
)

// request is what hutch-seccomp reads; see hutch-seccomp.c.
func request(list []stage) []byte {
	var b []byte
	for _, s := range list {
		arch := s.name
		if s.tabled {
			arch = "native"
		}
		var rules []byte
		count := 0
		for _, r := range s.rules {
			call := r.name
			if s.tabled {
				nr, ok := Number(s.arch, r.name)
				if !ok {
					continue // the target has no such call
				}
				call = strconv.Itoa(nr)
			}
			alternatives := r.alternatives
			if r.always() {
				alternatives = [][]condition{nil}
			}
			for _, a := range alternatives {
				rules = append(append(append(rules, "rule "...), call...), ' ')
				rules = appendNumbers(rules, uint64(r.action), uint64(len(a)))
				for _, c := range a {
					rules = c.appendTo(rules)
				}
				count++
			}
		}
		b = append(append(append(b, "stage "...), arch...), ' ')
		b = appendNumbers(b, uint64(s.fallback), uint64(s.bad), uint64(count))
		b = append(b, rules...)
	}
	return b
}

// appendTo writes a condition: libseccomp's enum scmp_compare and its operands.
func (c condition) appendTo(b []byte) []byte {
	for i, op := range [...]string{"ne", "lt", "le", "eq", "ge", "gt"} {
		if c.op == op {
			return appendNumbers(b, uint64(c.index), uint64(i+1), c.value, 0)
		}
	}
	const maskedEqual = 7
	return appendNumbers(b, uint64(c.index), maskedEqual, c.mask, c.value)
}

// appendNumbers writes a line of them, or the rest of one.
func appendNumbers(b []byte, numbers ...uint64) []byte {
	for _, n := range numbers {
		b = append(strconv.AppendUint(b, n, 10), ' ')
	}
	b[len(b)-1] = '\n'
	return b
}

var errAnswer = errors.New("hutch-seccomp gave something else than filters")

// takeFilters reads what hutch-seccomp answers: for each stage eight digits of
// size and a newline, and the filter.
func takeFilters(list []stage, made []byte) ([][]instruction, error) {
	const head = 9
	var texts [][]instruction
	for i := range list {
		if len(made) < head {
			return nil, errAnswer
		}
		size, err := strconv.Atoi(string(made[:head-1]))
		if err != nil || size < 0 || len(made) < head+size {
			return nil, errAnswer
		}
		text, err := list[i].finish(Filter(made[head : head+size]))
		if err != nil {
			return nil, err
		}
		texts = append(texts, text)
		made = made[head+size:]
	}
	if len(made) > 0 {
		return nil, errAnswer
	}
	return texts, nil
}
