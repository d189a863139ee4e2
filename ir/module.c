/* module.c: looking things up in a Module. Names are compared as text: they come from files too. A deep model has thousands
 * of parameters, and each is asked for by every function: they have an index, brought up to date when asked. */
#include "ir/ir.h"

Module *module_new(Arena *arena)
{
	Module *m = NEW(arena, Module);
	m->arena = arena;
	return m;
}

Param *module_param(Module *m, const char *name)
{
	if (!m->named)
		m->named = vmap_new(m->arena);
	for (; m->nnamed < m->params.len; m->nnamed++) {
		const char *known = intern(m->params.at[m->nnamed].name);
		if (vmap_get(m->named, known) < 0)
			vmap_put(m->named, known, m->nnamed);
	}
	int i = vmap_get(m->named, intern(name));
	return i < 0 ? NULL : &m->params.at[i];
}

bool entry_freezes(const Module *m, const Entry *e, const Param *p)
{
	for (int i = 0; i < e->frozen.len; i++)
		if (p == &m->params.at[e->frozen.at[i]])
			return true;
	return p->frozen;
}

const Setting *entry_setting(const Entry *e, const char *key)
{
	for (int i = 0; i < e->settings.len; i++)
		if (!strcmp(e->settings.at[i].key, key))
			return &e->settings.at[i];
	return NULL;
}

void entry_set(Module *m, Entry *e, const char *key, const char *text)
{
	Setting *had = (Setting *)entry_setting(e, key);
	if (had)
		had->str = intern(text);
	else
		vec_push(m->arena, &e->settings, ((Setting){ .key = intern(key), .str = intern(text) }));
}

void module_set_precision(Module *m, const char *name)
{
	for (int i = 0; i < m->entries.len; i++)
		if (m->entries.at[i]->kind != ENTRY_EXPLAIN)
			entry_set(m, m->entries.at[i], "precision", name);
}

/* Parameters say it in every graph of the entry; layout makes blocks of those that it packs. */
void entry_quantize(Module *m, Entry *e, Quant format)
{
	entry_set(m, e, "quantize", quant_name[format]);
	for (int k = 0; k < e->graphs.len; k++)
		for (int j = 0; j < e->graphs.at[k]->vals.len; j++) {
			Value *v = e->graphs.at[k]->vals.at[j];
			if (v->op == OP_PARAM)
				v->a.format = format;
		}
}

Graph *entry_graph(const Entry *e, const char *suffix)
{
	size_t n = strlen(e->name);
	for (int i = 0; i < e->graphs.len; i++) {
		const char *name = e->graphs.at[i]->name;
		if (!strncmp(name, e->name, n) && name[n] == '.' && !strcmp(name + n + 1, suffix))
			return e->graphs.at[i];
	}
	return NULL;
}

bool graph_is_function(const Graph *g)
{
	const char *dot = strrchr(g->name, '.');
	return !dot || strcmp(dot, ".forward") != 0;
}

const char *param_called(const Param *p)
{
	return p->file ? p->file : p->name;
}

bool param_is_used(const Module *m, const Param *p)
{
	for (int i = 0; i < m->entries.len; i++)
		for (int k = 0; k < m->entries.at[i]->graphs.len; k++) {
			const Graph *g = m->entries.at[i]->graphs.at[k];
			for (int j = 0; j < g->vals.len && graph_is_function(g); j++)
				if (g->vals.at[j]->op == OP_PARAM && g->vals.at[j]->a.name == p->name)
					return true;
		}
	return false;
}
