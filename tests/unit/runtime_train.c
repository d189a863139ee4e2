/* Training end to end on the hand-made bigram: learning, threads, resuming after the end, a signal, kill -9 and a full
 * disk, and what a run directory holds. */
#include "tests/unit/runtime_bigram.h"

static int count_lines(const char *file, const char *with) {
	size_t n = 0;
	int count = 0;
	char *s = get(file, &n);
	assert_non_null(s);
	for (char *line = strtok(s, "\n"); line; line = strtok(NULL, "\n"))
		count += strstr(line, with) != NULL;
	free(s);
	return count;
}

static double last_number(const char *file, const char *key) {
	size_t n = 0;
	char *s = get(file, &n), *found = NULL;
	assert_non_null(s);
	for (char *at = s; (at = strstr(at, key)); at += strlen(key))
		found = at + strlen(key);
	double x = found ? atof(found) : NAN;
	free(s);
	return x;
}

static void learns(void **state) {
	expect_run(0, "train --data corpus.txt --out a");
	assert_int_equal(count_lines("a/metrics.jsonl", "\"loss\""), 60);
	assert_int_equal(count_lines("a/metrics.jsonl", "\"val_loss\""), 6);
	double loss = last_number("a/metrics.jsonl", "\"val_loss\":");
	assert_true(loss > 0.3 && loss < 1.6);   /* a uniform guess has 2.7, a bigram of this text about 0.9 */
	static const char *const files[] = {"a/last/model.safetensors", "a/last/optimizer.safetensors", "a/last/state.json", "a/last/config.json",
		"a/last/tokenizer.json", "a/best/model.safetensors", "a/loss.svg"};
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		char *path = in_dir(files[i]);
		if (!sn_exists(path))
			fail_msg("%s is missing", files[i]);
		free(path);
	}
	expect_in("a/loss.svg", "</svg>");
	expect_run(2, "train --data corpus.txt --out a");
	expect_in("err", "--resume a");
	expect_run(0, "train --resume a");
	expect_in("err", "nothing to do");
}

static void threads_do_not_matter(void **state) {
	expect_run(0, "train --data corpus.txt --out t1 -t 1");
	expect_run(0, "train --data corpus.txt --out t3 -t 3 -q");
	expect_same("t1/last/model.safetensors", "t3/last/model.safetensors");
	expect_same("t1/last/optimizer.safetensors", "t3/last/optimizer.safetensors");
	expect_run(0, "train --data corpus.txt --out t2 --seed 2");
	size_t n = 0, m = 0;
	char *a = get("t1/last/model.safetensors", &n), *b = get("t2/last/model.safetensors", &m);
	assert_true(n == m && memcmp(a, b, n));
	free(a);
	free(b);
}

static void expect_like_a(const char *run) {
	static const char *const files[] = {"last/model.safetensors", "last/optimizer.safetensors", "best/model.safetensors"};
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		char *x = sn_format("a/%s", files[i]), *y = sn_format("%s/%s", run, files[i]);
		expect_same(x, y);
		free(x);
		free(y);
	}
	char *metrics = sn_format("%s/metrics.jsonl", run);
	assert_int_equal(count_lines(metrics, "\"loss\""), 60);
	assert_int_equal(count_lines(metrics, "\"val_loss\""), 6);
	free(metrics);
}

static void wait_for(const char *file) {
	char *path = in_dir(file);
	for (int i = 0; i < 2000 && !sn_exists(path); i++)
		usleep(1000);
	assert_true(sn_exists(path));
	free(path);
}

/* Killed again and again, at any point of a step or a save; in the end the same bits as never killed. */
static void killed_and_resumed(void **state) {
	setenv("SN_TEST_SLOW", "1500", 1);
	pid_t pid = start("train --data corpus.txt --out k", 0);
	wait_for("k/last/state.json");
	int kills = 0, code = 0;
	for (useconds_t wait = 3000;; wait = wait * 3 / 2 + 700) {
		usleep(wait);
		kill(pid, SIGKILL);
		code = finish(pid);
		if (code != 1000 + SIGKILL)
			break;
		kills++;
		pid = start("train --resume k", 0);
	}
	unsetenv("SN_TEST_SLOW");
	assert_int_equal(code, 0);
	assert_true(kills >= 3);
	expect_like_a("k");
}

/* Runs words and kills it at the beginning of its n-th system call; false if it ended before. */
static bool killed_at_call(const char *words, int n) {
	traced = true;
	pid_t pid = start(words, 0);
	traced = false;
	int status;
	for (int stops = 0; waitpid(pid, &status, 0) == pid && WIFSTOPPED(status); stops++) {
		if (stops == 2 * n) {   /* a call stops twice, at its beginning and at its end */
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return true;
		}
		ptrace(PTRACE_SYSCALL, pid, NULL, NULL);
	}
	return false;
}

/* A run of 4 steps that saves and validates after each second one, killed at each of its system calls in turn (each
 * fifth, as a rule), and resumed: always the bits of the run never killed. */
static void killed_anywhere(void **state) {
	static const char run[] = "train --data corpus.txt --steps 4 --save-every 2 --validate-every 2 --eval-batches 1 --batch 4 -t 1 -q";
	const char *every = getenv("SN_TEST_EVERY");
	char *whole = sn_format("%s --out whole", run), *cut = sn_format("%s --out cut", run), *dir_cut = in_dir("cut"), *clean = sn_format("rm -rf %s", dir_cut);
	expect_run(0, whole);
	int kills = 0, step = every ? atoi(every) : 5;
	for (int n = 1; killed_at_call(cut, n); n += step, kills++) {
		char *last = in_dir("cut/last");
		expect_run(0, sn_exists(last) ? "train --resume cut -q" : cut);
		expect_same("whole/last/model.safetensors", "cut/last/model.safetensors");
		expect_same("whole/last/optimizer.safetensors", "cut/last/optimizer.safetensors");
		expect_same("whole/best/model.safetensors", "cut/best/model.safetensors");
		assert_int_equal(count_lines("cut/metrics.jsonl", "\"loss\""), 4);
		assert_int_equal(count_lines("cut/metrics.jsonl", "\"val_loss\""), 2);
		assert_int_equal(system(clean), 0);
		free(last);
	}
	assert_true(kills > 20);
	free(whole);
	free(cut);
	free(dir_cut);
	free(clean);
}

/* What a kill inside a save can leave: half a checkpoint, and the links on their way. They go, what they name stays. */
static void leftovers(void **state) {
	expect_run(0, "train --data corpus.txt --out w --steps 8 --schedule constant");
	char *run = in_dir("w"), *half = in_dir("w/.tmp-ckpt-00000012");
	assert_int_equal(sn_mkdirs(half), SN_OK);
	put_text("w/.tmp-ckpt-00000012/model.safetensors", "half");
	char *last = sn_format("%s/.tmp-link-last", run), *best = sn_format("%s/.tmp-link-best", run);
	assert_int_equal(symlink("best-00000008", last), 0);
	assert_int_equal(symlink("best-00000008", best), 0);
	expect_run(0, "generate -m w -p h -n 1");
	put_text("w/metrics.jsonl", "{\"step\":1,\"loss\":3}\n{\"step\":8,\"loss\":2}\n{\"step\":9,\"lo");   /* a torn line */
	expect_run(0, "train --resume w --steps 9 --validate-every 100 --valid-fraction 0 --data corpus.txt");
	assert_int_equal(count_lines("w/metrics.jsonl", "\"loss\""), 3);
	assert_false(sn_exists(half) || sn_exists(last) || sn_exists(best));
	expect_run(0, "generate -m w -p h -n 1");
	expect_run(0, "generate -m w/best -p h -n 1");
	free(run);
	free(half);
	free(last);
	free(best);
}

static void interrupted_and_resumed(void **state) {
	setenv("SN_TEST_SLOW", "3000", 1);
	pid_t pid = start("train --data corpus.txt --out i", 0);
	wait_for("i/last/state.json");
	kill(pid, SIGINT);
	assert_int_equal(finish(pid), 130);
	expect_in("err", "--resume i");
	unsetenv("SN_TEST_SLOW");
	expect_run(0, "train --resume i");
	expect_like_a("i");
}

static void second_signal_kills(void **state) {
	setenv("SN_TEST_SLOW", "400000", 1);
	pid_t pid = start("train --data corpus.txt --out s2", 0);
	wait_for("s2/metrics.jsonl");
	usleep(50000);
	kill(pid, SIGTERM);
	usleep(20000);
	kill(pid, SIGTERM);
	assert_int_equal(finish(pid), 1000 + SIGTERM);
	unsetenv("SN_TEST_SLOW");
}

static void disk_full(void **state) {
	expect_run(0, "train --data corpus.txt --out f --steps 8 --schedule constant");
	assert_int_equal(finish(start("train --resume f --steps 60", 1500)), 1);
	expect_in("err", "intact");
	expect_in("f/last/state.json", "\"step\": 8");
	expect_run(0, "train --resume f --steps 60");
	expect_run(0, "train --data corpus.txt --out g --steps 60 --schedule constant");
	expect_same("f/last/model.safetensors", "g/last/model.safetensors");
}

/* Micro-batches that add up are the batch: 8 = 2 x 4 is not 4 x 2, but both are means over the same number of tokens. */
static void settings(void **state) {
	expect_run(2, "train --data corpus.txt --out x --batch 6");
	expect_run(0, "train --data corpus.txt --out x --batch 3 --steps 2 --context 5");
	expect_in("x/metrics.jsonl", "\"tokens\":30,");
	expect_run(2, "train --data corpus.txt --out y --context 9");
	expect_run(2, "train --data corpus.txt --out y --schedule sometimes");
	expect_run(2, "train --data corpus.txt --out y --steps 0");
	expect_run(1, "train --data corpus.txt --out y --lr 1e38 --clip 0");
	expect_in("err", "not finite");
}

static void other_data(void **state) {
	expect_run(0, "train --data corpus.txt --out o --steps 8");
	char *moved = in_dir("corpus.txt"), *to = in_dir("moved.txt");
	rename(moved, to);
	put_text("corpus.txt", "hello world, hello old world, hello shed");
	expect_run(3, "train --resume o --steps 9 --valid-fraction 0");
	expect_in("err", "training data");
	expect_run(0, "train --resume o --steps 9 --data moved.txt");
	rename(to, moved);
	free(moved);
	free(to);
}

static void one_at_a_time(void **state) {
	setenv("SN_TEST_SLOW", "20000", 1);
	pid_t pid = start("train --data corpus.txt --out l", 0);
	wait_for("l/metrics.jsonl");
	expect_run(1, "train --data corpus.txt --out l");
	kill(pid, SIGKILL);
	finish(pid);
	unsetenv("SN_TEST_SLOW");
}

static void schedule(void **state) {
	SnSchedule s = {"cosine", 1.0, 0.1, 10, 110};
	assert_float_equal(sn_learning_rate(&s, 0), 0.1, 1e-12);
	assert_float_equal(sn_learning_rate(&s, 9), 1.0, 1e-12);
	assert_float_equal(sn_learning_rate(&s, 10), 1.0, 1e-12);
	assert_float_equal(sn_learning_rate(&s, 60), 0.55, 1e-12);
	assert_float_equal(sn_learning_rate(&s, 110), 0.1, 1e-12);
	assert_float_equal(sn_learning_rate(&s, 500), 0.1, 1e-12);
	s.kind = "linear";
	assert_float_equal(sn_learning_rate(&s, 35), 0.775, 1e-12);
	s.kind = "constant";
	assert_float_equal(sn_learning_rate(&s, 500), 1.0, 1e-12);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(learns), cmocka_unit_test(threads_do_not_matter), cmocka_unit_test(killed_and_resumed),
		cmocka_unit_test(killed_anywhere), cmocka_unit_test(leftovers), cmocka_unit_test(interrupted_and_resumed), cmocka_unit_test(second_signal_kills), cmocka_unit_test(disk_full),
		cmocka_unit_test(settings), cmocka_unit_test(other_data), cmocka_unit_test(one_at_a_time), cmocka_unit_test(schedule),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
