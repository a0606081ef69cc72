package oracles

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"sigs.k8s.io/yaml"
)

const (
	metricsFile   = "tests/fixtures/metrics.txt"
	dashboardFile = "charts/ssm-ready/files/dashboard.json"
	alertsFile    = "charts/ssm-ready/files/alerts.yaml"
	alertsPage    = "docs/alerts.md"
)

// Labels that Prometheus adds to what it scrapes. `namespace` and `pod` come with a ServiceMonitor.
var added = []string{"job", "instance", "namespace", "pod"}

// needed reads a file without which these tests have nothing to say.
func needed(t *testing.T, path, from string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, path))
	if errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("%s is missing: %s", path, from)
	}
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// series are the metrics that a real run produced, each with the values that each of its labels had.
type series map[string]map[string]map[string]bool

// produced reads the answer of a controller to Prometheus with Prometheus's own parser.
func produced(t *testing.T) series {
	t.Helper()
	text := needed(t, metricsFile, "an end-to-end test writes what the controller exposes into it")
	contentType := "application/openmetrics-text; version=1.0.0; charset=utf-8"
	reader, err := textparse.New(text, contentType, labels.NewSymbolTable(), textparse.ParserOptions{})
	if err != nil {
		t.Fatal(err)
	}
	found := series{}
	for {
		entry, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%s is no OpenMetrics text: %v", metricsFile, err)
		}
		if entry != textparse.EntrySeries && entry != textparse.EntryHistogram {
			continue
		}
		var one labels.Labels
		reader.Labels(&one)
		name := one.Get(labels.MetricName)
		if found[name] == nil {
			found[name] = map[string]map[string]bool{}
		}
		one.Range(func(label labels.Label) {
			if found[name][label.Name] == nil {
				found[name][label.Name] = map[string]bool{}
			}
			found[name][label.Name][label.Value] = true
		})
	}
	if len(found) == 0 {
		t.Fatalf("%s has no series", metricsFile)
	}
	return found
}

var promql = parser.NewParser(parser.Options{})

// names are the metrics below an expression.
func names(expression parser.Expr) []string {
	var found []string
	parser.Inspect(expression, func(node parser.Node, _ []parser.Node) error {
		if selector, ok := node.(*parser.VectorSelector); ok {
			name := selector.Name
			for _, matcher := range selector.LabelMatchers {
				if matcher.Name == labels.MetricName && matcher.Type == labels.MatchEqual {
					name = matcher.Value
				}
			}
			found = append(found, name)
		}
		return nil
	})
	return found
}

// problems tells what of an expression no series could ever match.
func (known series) problems(text string) []string {
	expression, err := promql.ParseExpr(text)
	if err != nil {
		return []string{err.Error()}
	}
	var found []string
	has := func(metric, label string) bool {
		return slices.Contains(added, label) || known[metric][label] != nil
	}
	// A label that a function makes is there whatever the series have.
	made := map[string]bool{}
	parser.Inspect(expression, func(node parser.Node, _ []parser.Node) error {
		if call, ok := node.(*parser.Call); ok && strings.HasPrefix(call.Func.Name, "label_") && len(call.Args) > 1 {
			if to, ok := call.Args[1].(*parser.StringLiteral); ok {
				made[to.Val] = true
			}
		}
		return nil
	})
	// By or on which labels it goes: each must be on one metric below, at least.
	grouped := func(what string, below []string, by []string) {
		for _, label := range by {
			if !made[label] && !slices.ContainsFunc(below, func(metric string) bool { return has(metric, label) }) {
				found = append(found, fmt.Sprintf("%s: none of %v has the label %s", what, below, label))
			}
		}
	}
	parser.Inspect(expression, func(node parser.Node, _ []parser.Node) error {
		switch node := node.(type) {
		case *parser.VectorSelector:
			for _, metric := range names(node) {
				if known[metric] == nil {
					found = append(found, fmt.Sprintf("there is no metric %q", metric))
					continue
				}
				for _, matcher := range node.LabelMatchers {
					if matcher.Name == labels.MetricName {
						continue
					}
					if !has(metric, matcher.Name) {
						found = append(found, fmt.Sprintf("%s has no label %s", metric, matcher.Name))
					}
				}
			}
		case *parser.AggregateExpr:
			grouped(node.Op.String(), names(node.Expr), node.Grouping)
		case *parser.BinaryExpr:
			if node.VectorMatching != nil {
				grouped("matching on", names(node.LHS), node.VectorMatching.MatchingLabels)
				grouped("matching on", names(node.RHS), node.VectorMatching.MatchingLabels)
				grouped("group", append(names(node.LHS), names(node.RHS)...), node.VectorMatching.Include)
			}
		}
		return nil
	})
	return found
}

// The check itself finds what is wrong.
func TestTheCheckOfQueries(t *testing.T) {
	known := series{"a_total": {"x": {"1": true}}, "b": {"y": {"1": true}}}
	for query, good := range map[string]bool{
		`a_total`: true,
		`sum by (x, job) (rate(a_total{x="1"}[5m]))`: true,
		`a_total * on (instance) group_left (y) b`:   true,
		`{__name__="b"}`: true,
		`label_replace(a_total, "z", "$1", "x", "(.*)") and on (z) label_replace(b, "z", "$1", "y", "(.*)")`: true,
		`c_total`:                             false,
		`a_total{y="1"}`:                      false,
		`sum by (y) (a_total)`:                false,
		`sum without (y) (a_total)`:           false,
		`a_total and on (x) b`:                false,
		`a_total * on (job) group_left (z) b`: false,
		`{__name__="c"}`:                      false,
		`rate(a_total)`:                       false,
		`sum(a_total`:                         false,
	} {
		if problems := known.problems(query); (len(problems) == 0) != good {
			t.Errorf("%s: %v", query, problems)
		}
	}
}

// A panel of a dashboard; rows hold further ones.
type panel struct {
	Title   string  `json:"title"`
	Panels  []panel `json:"panels"`
	Targets []struct {
		Expr         string `json:"expr"`
		LegendFormat string `json:"legendFormat"`
	} `json:"targets"`
}

type dashboard struct {
	Panels      []panel `json:"panels"`
	Annotations struct {
		List []struct {
			Name string `json:"name"`
			Expr string `json:"expr"`
		} `json:"list"`
	} `json:"annotations"`
	Templating struct {
		List []struct {
			Name       string          `json:"name"`
			Type       string          `json:"type"`
			Query      json.RawMessage `json:"query"`
			Definition string          `json:"definition"`
		} `json:"list"`
	} `json:"templating"`
}

var (
	variable    = regexp.MustCompile(`\$\{(\w+)(?::\w+)?\}|\$(\w+)|\[\[(\w+)\]\]`)
	labelValues = regexp.MustCompile(`^label_values\((?:(.+),\s*)?(\w+)\)$`)
	legend      = regexp.MustCompile(`\{\{\s*(\w+)\s*\}\}`)
	shown       = regexp.MustCompile(`\$labels\.(\w+)`)
	// Grafana's own that stand for a duration.
	durations = []string{"__rate_interval", "__interval", "__range"}
)

// filled puts something in the place of each variable, as Grafana does; unknown ones are told.
func filled(text string, known map[string]bool) (string, []string) {
	var unknown []string
	replaced := variable.ReplaceAllStringFunc(text, func(found string) string {
		parts := variable.FindStringSubmatch(found)
		name := parts[1] + parts[2] + parts[3]
		switch {
		case slices.Contains(durations, name):
			return "5m"
		case known[name]:
			return ".*"
		default:
			unknown = append(unknown, name)
			return ""
		}
	})
	return replaced, unknown
}

func TestDashboard(t *testing.T) {
	text := needed(t, dashboardFile, "it is the dashboard of the chart")
	known := produced(t)
	var board dashboard
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	variables := map[string]bool{}
	for _, one := range board.Templating.List {
		variables[one.Name] = true
	}
	checked := 0
	check := func(where, query, legends string) {
		query, unknown := filled(query, variables)
		for _, name := range unknown {
			t.Errorf("%s: there is no variable %s", where, name)
		}
		for _, problem := range known.problems(query) {
			t.Errorf("%s: %s\n  %s", where, problem, query)
		}
		// What the legend shows has to survive the query.
		if expression, err := promql.ParseExpr(query); err == nil {
			for _, label := range legend.FindAllStringSubmatch(legends, -1) {
				if kept := kept(expression); kept != nil && !slices.Contains(kept, label[1]) {
					t.Errorf("%s: the legend shows %s, and the query leaves only %v", where, label[1], kept)
				}
			}
		}
		checked++
	}
	for _, one := range board.Templating.List {
		if one.Type != "query" {
			continue
		}
		query := one.Definition
		var detailed struct {
			Query string `json:"query"`
		}
		if json.Unmarshal(one.Query, &detailed) == nil && detailed.Query != "" {
			query = detailed.Query
		} else {
			var plain string
			if json.Unmarshal(one.Query, &plain) == nil {
				query = plain
			}
		}
		where := "the variable " + one.Name
		parts := labelValues.FindStringSubmatch(query)
		if parts == nil {
			t.Errorf("%s is no label_values: %q", where, query)
			continue
		}
		if parts[1] == "" {
			t.Errorf("%s looks through all metrics of Prometheus: %q", where, query)
			continue
		}
		check(where, parts[1], "")
		selector, _ := filled(parts[1], variables)
		if expression, err := promql.ParseExpr(selector); err == nil {
			for _, metric := range names(expression) {
				if known[metric][parts[2]] == nil && !slices.Contains(added, parts[2]) {
					t.Errorf("%s: %s has no label %s", where, metric, parts[2])
				}
			}
		}
	}
	var walk func(panels []panel)
	walk = func(panels []panel) {
		for _, one := range panels {
			for _, target := range one.Targets {
				check(fmt.Sprintf("the panel %q", one.Title), target.Expr, target.LegendFormat)
			}
			walk(one.Panels)
		}
	}
	walk(board.Panels)
	for _, one := range board.Annotations.List {
		if one.Expr != "" {
			check("the annotation "+one.Name, one.Expr, "")
		}
	}
	if checked < 10 {
		t.Errorf("only %d queries were found", checked)
	}
}

// kept are the labels that an expression leaves, where an aggregation says so.
func kept(expression parser.Expr) []string {
	switch expression := expression.(type) {
	case *parser.AggregateExpr:
		if expression.Without || expression.Op == parser.TOPK || expression.Op == parser.BOTTOMK {
			return nil
		}
		return append([]string{}, expression.Grouping...)
	case *parser.ParenExpr:
		return kept(expression.Expr)
	case *parser.BinaryExpr:
		if expression.VectorMatching == nil {
			if expression.LHS.Type() == parser.ValueTypeScalar {
				return kept(expression.RHS)
			}
			return kept(expression.LHS)
		}
		return kept(expression.LHS)
	default:
		return nil
	}
}

type alertGroups struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []struct {
			Alert       string            `json:"alert"`
			Record      string            `json:"record"`
			Expr        string            `json:"expr"`
			For         string            `json:"for"`
			Labels      map[string]string `json:"labels"`
			Annotations map[string]string `json:"annotations"`
		} `json:"rules"`
	} `json:"groups"`
}

func alerts(t *testing.T) alertGroups {
	t.Helper()
	var groups alertGroups
	text := needed(t, alertsFile, "it holds the groups of the chart's PrometheusRule")
	if err := yaml.Unmarshal(text, &groups); err != nil {
		t.Fatal(err)
	}
	return groups
}

func TestAlerts(t *testing.T) {
	known := produced(t)
	page := strings.ToLower(string(needed(t, alertsPage, "each alert has a heading on that page, to which its runbook_url leads")))
	// As Prometheus loads them, templates in annotations included.
	if _, errs := rulefmt.Parse(needed(t, alertsFile, ""), false, model.UTF8Validation, promql, slog.New(slog.DiscardHandler)); len(errs) > 0 {
		t.Error(errs)
	}
	seen := map[string]bool{}
	for _, group := range alerts(t).Groups {
		for _, rule := range group.Rules {
			if rule.Record != "" {
				t.Errorf("%s: recording rules are not checked here", rule.Record)
				continue
			}
			name := rule.Alert
			if seen[name] {
				t.Errorf("%s is there twice", name)
			}
			seen[name] = true
			for _, problem := range known.problems(rule.Expr) {
				t.Errorf("%s: %s", name, problem)
			}
			if expression, err := promql.ParseExpr(rule.Expr); err == nil {
				for _, text := range rule.Annotations {
					for _, label := range shown.FindAllStringSubmatch(text, -1) {
						if kept := kept(expression); kept != nil && !slices.Contains(kept, label[1]) {
							t.Errorf("%s shows the label %s, and its query leaves only %v", name, label[1], kept)
						}
					}
				}
			}
			if duration, err := model.ParseDuration(rule.For); err != nil || duration <= 0 {
				t.Errorf("%s: for is %q", name, rule.For)
			}
			if !slices.Contains([]string{"info", "warning", "critical"}, rule.Labels["severity"]) {
				t.Errorf("%s: severity is %q", name, rule.Labels["severity"])
			}
			if rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" {
				t.Errorf("%s lacks a summary or description", name)
			}
			url := "https://ssm-ready.github.io/ssm-ready/alerts.html#" + strings.ToLower(name)
			if rule.Annotations["runbook_url"] != url {
				t.Errorf("%s: runbook_url is %q, and should be %s", name, rule.Annotations["runbook_url"], url)
			}
			if !slices.ContainsFunc(strings.Split(page, "\n"), func(line string) bool {
				return strings.HasPrefix(line, "#") && strings.TrimSpace(strings.TrimLeft(line, "#")) == strings.ToLower(name)
			}) {
				t.Errorf("%s has no heading %s", alertsPage, name)
			}
		}
	}
	if len(seen) == 0 {
		t.Errorf("%s has no alerts", alertsFile)
	}
}

// Some of the alerts on series made up: each with what has to fire, and what must not. The alert is looked at after as
// long as it has to hold.
func TestAlertsFire(t *testing.T) {
	expressions := map[string]string{}
	for _, group := range alerts(t).Groups {
		for _, rule := range group.Rules {
			expressions[rule.Alert] = rule.Expr
		}
	}
	const a, b = `job="ssm-ready",instance="a"`, `job="ssm-ready",instance="b"`
	for _, scene := range []struct {
		alert, what, load string
		fires             bool
	}{
		{"SsmReadyAbsent", "nothing is scraped", ``, true},
		{"SsmReadyAbsent", "one is scraped", `ssm_ready_build_info{` + a + `} 1x60`, false},
		{"SsmReadyNoLeader", "two stand by", `
			ssm_ready_build_info{` + a + `} 1x60
			ssm_ready_build_info{` + b + `} 1x60
			leader_election_master_status{name="ssm-ready",` + a + `} 0x60
			leader_election_master_status{name="ssm-ready",` + b + `} 0x60`, true},
		{"SsmReadyNoLeader", "one of two leads, and another program's does not", `
			ssm_ready_build_info{` + a + `} 1x60
			ssm_ready_build_info{` + b + `} 1x60
			leader_election_master_status{name="other",job="other",instance="c"} 0x60
			leader_election_master_status{name="ssm-ready",` + a + `} 0x60
			leader_election_master_status{name="ssm-ready",` + b + `} 1x60`, false},
		{"SsmReadyManyLeaders", "two lead", `
			ssm_ready_build_info{` + a + `} 1x60
			ssm_ready_build_info{` + b + `} 1x60
			leader_election_master_status{name="ssm-ready",` + a + `} 1x60
			leader_election_master_status{name="ssm-ready",` + b + `} 1x60`, true},
		{"SsmReadyManyLeaders", "one leads", `
			ssm_ready_build_info{` + a + `} 1x60
			leader_election_master_status{name="ssm-ready",` + a + `} 1x60`, false},
		{"SsmReadyNotReady", "one object is not ready", `
			ssm_ready_posture_condition{kind="VpcPosture",type="Ready",status="False",` + a + `} 1x60
			ssm_ready_posture_condition{kind="VpcPosture",type="Ready",status="True",` + a + `} 7x60`, true},
		{"SsmReadyNotReady", "all are ready, and not all compliant", `
			ssm_ready_posture_condition{kind="VpcPosture",type="Ready",status="True",` + a + `} 7x60
			ssm_ready_posture_condition{kind="VpcPosture",type="Ready",status="False",` + a + `} 0x60
			ssm_ready_posture_condition{kind="VpcPosture",type="Compliant",status="False",` + a + `} 2x60`, false},
		{"SsmReadyStalled", "one object is stalled", `
			ssm_ready_posture_condition{kind="AwsAccount",type="Stalled",status="True",` + a + `} 1x60`, true},
		{"SsmReadyStalled", "none is", `
			ssm_ready_posture_condition{kind="AwsAccount",type="Stalled",status="True",` + a + `} 0x60`, false},
	} {
		t.Run(scene.alert+": "+scene.what, func(t *testing.T) {
			expression, found := expressions[scene.alert]
			if !found {
				t.Fatalf("%s has no alert %s", alertsFile, scene.alert)
			}
			var script strings.Builder
			if scene.load != "" {
				script.WriteString("load 1m\n")
				for line := range strings.Lines(scene.load) {
					if line = strings.TrimSpace(line); line != "" {
						fmt.Fprintf(&script, "  %s\n", line)
					}
				}
			}
			// Counted, so that what labels the alert carries does not matter here.
			query := strings.Join(strings.Fields(expression), " ")
			fmt.Fprintf(&script, "\neval instant at 50m count(%s) or vector(0)\n", query)
			if scene.fires {
				script.WriteString("  {} 1\n")
			} else {
				script.WriteString("  {} 0\n")
			}
			engine := promqltest.NewTestEngine(t, false, 5*time.Minute, 10_000)
			promqltest.RunTest(t, script.String(), engine)
		})
	}
}
