/* reduce_kernel.h -- one pass of a reduction, for one type that is added up; reduce_vectors.h includes it once for each, having defined
 *
 *     NAME(x)      the names of its functions
 *     ACC, ACC_V   the type, and a vector of it
 *     SUM_V        the vector in which it is added: integers wrap around
 *     FLOATS       1 or 0
 *
 * The sums of a step stay in registers while the sources pass by, so memory is read once and written once. A product is never
 * added to anything: no compiler can fuse the two and round differently. */

/* a = a op x. A minimum keeps the first of equals and the last NaN: so blocks make no difference to it. */
static INLINE void NAME(combine)(ACC_V *a, const ACC_V *x, enum ls_fold_how how)
{
	EACH(r) {
		const ACC_V y = x[r];

		if (how == LS_FOLD_MIN)
			a[r] = (ACC_V)SELECT((vec_u32)((a[r] > y) | (x[r] != y)), (vec_u32)y, (vec_u32)a[r]);
		else if (how == LS_FOLD_MAX)
			a[r] = (ACC_V)SELECT((vec_u32)((a[r] < y) | (x[r] != y)), (vec_u32)y, (vec_u32)a[r]);
		else
			a[r] = (ACC_V)((SUM_V)a[r] + (SUM_V)y);
	}
}

/* All of it but the loop is decided when it is compiled: how, n (0: f->n), the forms of the sources and of the destinations. */
static INLINE void NAME(run)(
	const struct ls_fold *f, size_t at, size_t count, enum ls_fold_how how, int n, enum form in, enum form out)
{
	const struct ls_fold fold = *f; /* no store to a destination can change this one */
	const size_t step = LS_FOLD_VECTORS * VECTOR_BYTES / sizeof(ACC), end = at + count;
	const size_t in_bytes = in == PLAIN ? sizeof(ACC) : 2, out_bytes = out == PLAIN ? sizeof(ACC) : 2;
	const bool first = n || fold.first, last = n || fold.last;
	const int sources = n ? n : fold.n;
	const ACC by = FLOATS ? (ACC)1 / (ACC)fold.divisor : (ACC)fold.divisor;
	const char *src[LS_FOLD_SOURCES];
	char *dst0 = last ? fold.dst[0] : NULL, *dst1 = last && fold.n_dst > 1 ? fold.dst[1] : NULL;
	int k, d, n_out;

	for (k = 0; k < sources; k++)
		src[k] = fold.src[k];
	for (; at < end; at += step) {
		ACC_V part[LS_FOLD_VECTORS], total[LS_FOLD_VECTORS], x[LS_FOLD_VECTORS];
		vec_u32 packed[LS_FOLD_VECTORS];
		bool has_total = how == LS_FOLD_SUM_BLOCKS && fold.has_total;

		if (fold.ahead)
			for (k = 0; k < sources; k++)
				fetch(src[k] + at * in_bytes, step * in_bytes);
		if (first)
			load((vec_u32 *)part, src[0] + at * in_bytes, in);
		else
			load((vec_u32 *)part, (char *)fold.part + (at - fold.base) * sizeof(ACC), PLAIN);
		if (has_total)
			load((vec_u32 *)total, (char *)fold.total + (at - fold.base) * sizeof(ACC), PLAIN);
		for (k = first; k < sources; k++) {
			load((vec_u32 *)x, src[k] + at * in_bytes, in);
			if (how == LS_FOLD_SUM_BLOCKS && fold.begins >> k & 1) {
				if (has_total)
					NAME(combine)(total, part, how);
				EACH(r) {
					total[r] = has_total ? total[r] : part[r];
					part[r] = x[r];
				}
				has_total = true;
			} else {
				NAME(combine)(part, x, how);
			}
		}
		if (!last) {
			store((char *)fold.part + (at - fold.base) * sizeof(ACC), (vec_u32 *)part, LS_FOLD_VECTORS, false);
			if (has_total)
				store((char *)fold.total + (at - fold.base) * sizeof(ACC), (vec_u32 *)total, LS_FOLD_VECTORS, false);
			continue;
		}
		if (has_total) {
			NAME(combine)(total, part, how);
			EACH(r)
				part[r] = total[r];
		}
		if ((how == LS_FOLD_SUM || how == LS_FOLD_SUM_BLOCKS) && fold.divisor != 1)
			EACH(r)
				part[r] = FLOATS ? part[r] * by : part[r] / by;
		n_out = pack(packed, (vec_u32 *)part, out);
		store(dst0 + at * out_bytes, packed, n_out, fold.stream);
		if (dst1)
			store(dst1 + at * out_bytes, packed, n_out, fold.stream);
		for (d = 2; d < fold.n_dst; d++)
			store((char *)fold.dst[d] + at * out_bytes, packed, n_out, fold.stream);
	}
}

#undef NAME
#undef ACC
#undef ACC_V
#undef SUM_V
#undef FLOATS
